/** The shape of `services:` and `virtualServer:`: which keys there are, of what type and range, and their defaults. */
import { z } from 'zod';
import { canonicalAddress, parsePrefix, unicastFault } from './address.js';
import { flag, list, name, text, whole } from './schema-parts.js';
import { parseListen, parseSocket } from './service-address.js';
import { health } from './service-health.js';
import { FORWARDS, SCHEDULER_FLAGS, SCHEDULERS, TUNNEL_CHECKSUM_MODES, TUNNELS } from './service-types.js';

/** As ipvsadm has it: 31 days. */
export const TIMEOUT_MAX = 86_400 * 31;
/** The kernel's, an int. */
export const WEIGHT_MAX = 0x7fff_ffff;
const CONNECTIONS_MAX = 0x7fff_ffff;
const SLOTS_MAX = 1 << 24;
const PER_SECOND_MAX = 1_000_000_000;
/** One that Maglev's paper calls large enough for hundreds of destinations. */
const MAGLEV_SLOTS = 65_537;

const listen = text(
  (value) => {
    const found = parseListen(value);
    if (found === undefined) return listenFault(value);
    return found.protocol === 'mark' ? undefined : unicastFault(found.address);
  },
  { examples: ['tcp://10.10.0.100:80', 'udp://[fd00::100]:53', 'mark://7', 'mark6://7'] },
);

function listenFault(value: string): string {
  if (/^mark6?:/.test(value)) return 'must have a mark of 1..4294967295, as in mark://7';
  return 'must be tcp://, udp:// or sctp:// with address and port, or mark:// or mark6:// with a mark';
}

const socket = text(
  (value) => {
    const found = parseSocket(value);
    if (found === undefined) return 'must be an address, with a port where it has one: 10.0.0.2:8080';
    return unicastFault(found.address);
  },
  { examples: ['10.10.0.2:8080', '[fd00::2]:8080', '10.10.0.2'] },
);

const prefix = text(
  (value) => {
    const found = parsePrefix(value);
    return found === undefined ? 'must be a prefix such as 10.1.0.0/16' : undefined;
  },
  { examples: ['10.1.0.0/16', 'fd00::/8'] },
);

const prime = whole(3, SLOTS_MAX).check((context) => {
  if (Number.isSafeInteger(context.value) && context.value >= 3 && !isPrime(context.value)) {
    context.issues.push({ code: 'custom', message: 'must be a prime', input: context.value });
  }
});

function isPrime(value: number): boolean {
  for (let divisor = 2; divisor * divisor <= value; divisor++) if (value % divisor === 0) return false;
  return value > 1;
}

export const destination = z.strictObject({
  address: socket,
  weight: whole(0, WEIGHT_MAX).default(1),
  forward: z.enum(FORWARDS).default('nat'),
  tunnel: z
    .strictObject({
      type: z.enum(TUNNELS).default('ipip'),
      port: whole(0, 65535).default(0),
      checksum: z.enum(TUNNEL_CHECKSUM_MODES).default('none'),
    })
    .prefault({}),
  upperThreshold: whole(0, CONNECTIONS_MAX).default(0),
  lowerThreshold: whole(0, CONNECTIONS_MAX).default(0),
  near: flag(false),
});

const seconds = whole(1, TIMEOUT_MAX).nullable().default(null);

export const service = z.strictObject({
  listen,
  network: name.nullable().default(null),
  scheduler: z.enum(SCHEDULERS).default('wlc'),
  schedulerFlags: list(z.enum(SCHEDULER_FLAGS)),
  maglevTableSize: prime.default(MAGLEV_SLOTS),
  persistence: z
    .strictObject({
      timeoutSeconds: whole(1, TIMEOUT_MAX).default(300),
      mask: whole(1, 128)
        .nullable()
        .default(null)
        .meta({ description: 'by default one client each: 32 or 128' }),
      engine: z.enum(['sip']).nullable().default(null),
    })
    .nullable()
    .default(null),
  onePacket: flag(false),
  timeouts: z.strictObject({ tcpSeconds: seconds, tcpFinSeconds: seconds, udpSeconds: seconds }).prefault({}),
  resetOnExpiry: flag(false),
  rescheduleRemoved: flag(false),
  synProxy: flag(false),
  sourceRate: z
    .strictObject({ perSecond: whole(1, PER_SECOND_MAX), burst: whole(1, PER_SECOND_MAX) })
    .nullable()
    .default(null),
  allow: list(prefix),
  slowStartSeconds: whole(0, 86_400).default(0),
  preferNear: flag(false),
  quorum: whole(1, CONNECTIONS_MAX).default(1),
  quorumHysteresis: whole(0, CONNECTIONS_MAX).default(0),
  sorryServer: destination.nullable().default(null),
  destinations: list(destination),
  health: health.nullable().default(null),
});

const group = text(
  (value) =>
    /^(22[4-9]|23\d)\./.test(canonicalAddress(value) ?? '') || /^ff/.test(canonicalAddress(value) ?? '')
      ? undefined
      : 'must be a multicast address',
  { examples: ['224.0.0.81', 'ff02::81'] },
);

const peer = text((value) => (canonicalAddress(value) === undefined ? 'must be an IP address' : undefined), {
  examples: ['10.0.0.2', 'fd00::2'],
});

export const syncDaemon = z.strictObject({
  interface: text(
    (value) => (/^[^/:%\s]{1,15}$/.test(value) ? undefined : 'must be the name of an interface'),
    { minLength: 1, maxLength: 15 },
  ),
  syncId: whole(0, 255).default(0),
  group: group.default('224.0.0.81'),
  port: whole(1, 65535).default(8848),
  ttl: whole(1, 255).default(1),
  maxLength: whole(1, 65_507).default(1472),
  peers: z.array(peer).min(1).max(16).optional(),
  keyFile: text((value) => (value.startsWith('/') ? undefined : 'must be an absolute path'), {
    minLength: 1,
    maxLength: 4096,
  }).optional(),
});

const level = z
  .union([z.literal(0), z.literal(1), z.literal(2), z.literal(3)], { error: () => 'must be 0..3' })
  .default(0);

/** Absent stays absent: then what runs is left as it is (settled.ts). */
export const services = z.array(service).nullable().optional();

export const virtualServerSettings = z.strictObject({
  tcpSeconds: whole(1, TIMEOUT_MAX).default(900),
  tcpFinSeconds: whole(1, TIMEOUT_MAX).default(120),
  udpSeconds: whole(1, TIMEOUT_MAX).default(300),
  dropEntry: level,
  dropPacket: level,
  secureTcp: level,
  dropRate: whole(1, CONNECTIONS_MAX).default(10),
  expireNodestConn: flag(false),
  expireQuiescentTemplate: flag(false),
  sloppyTcp: flag(false),
  connReuseMode: whole(0, 3).default(1),
  connections: whole(16, SLOTS_MAX).default(1_048_576),
  sync: z
    .strictObject({
      master: syncDaemon.nullable().default(null),
      backup: syncDaemon.nullable().default(null),
    })
    .prefault({}),
});

export const VIRTUAL_SERVER_DEFAULTS = virtualServerSettings.parse({});

/** Likewise. */
export const virtualServer = virtualServerSettings.nullable().optional();
