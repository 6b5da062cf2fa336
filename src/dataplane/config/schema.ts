/** The configuration file's shape: which keys there are, of what type and range, and what they are by default. */
import { z } from 'zod';
import { canonicalAddress, canonicalMac, macFault, parsePrefix, unicastFault } from './address.js';
import { address, flag, list, name, text, whole } from './schema-parts.js';
import { services, virtualServer } from './service-schema.js';
import { OFFLOADS, UNDERLAY_DEVICES } from './types.js';

const MIB = 1 << 20;

const vtep = text(
  (value) => {
    const canonical = canonicalAddress(value);
    if (canonical === undefined) return 'must be an IPv4 or IPv6 address';
    return /^fe[89ab]/.test(canonical) ? 'must not be link-local' : unicastFault(canonical);
  },
  { examples: ['10.0.0.2', 'fd00::2'] },
);

const cidr = text(
  (value) => {
    const prefix = parsePrefix(value);
    if (prefix === undefined || prefix.bits === 0) return 'must be an address with its prefix length';
    return unicastFault(prefix.address);
  },
  { examples: ['10.10.0.2/24', 'fd00:10::2/64'] },
);

const routeTo = text(
  (value) =>
    value === 'default' || parsePrefix(value) !== undefined
      ? undefined
      : 'must be default or a prefix such as 10.1.0.0/16',
  { examples: ['default', '10.1.0.0/16'] },
);

const mac = text(
  (value) => {
    const canonical = canonicalMac(value);
    return canonical === undefined ? 'must be a MAC address such as 02:42:0a:0a:00:02' : macFault(canonical);
  },
  { pattern: '^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$' },
);

const netns = text(
  (value) =>
    /^\/.*[^/]$/.test(value) || (/^[^/\s]+$/.test(value) && value !== '.' && value !== '..')
      ? undefined
      : 'must be a name under /run/netns or an absolute path',
  { description: 'a name under /run/netns, or an absolute path such as /proc/123/ns/net', minLength: 1 },
);

const device = text(
  (value) =>
    /^[^/:%\s]+$/.test(value) && value !== '.' && value !== '..' && Buffer.byteLength(value) <= 15
      ? undefined
      : 'must be 1..15 characters without space, slash, colon or per cent',
  { minLength: 1, maxLength: 15 },
);

const endpoint = z.strictObject({
  netns,
  interface: device,
  mac: mac.optional(),
  addresses: list(cidr),
  mtu: whole(68, 65485).nullable().default(null),
  routes: list(z.strictObject({ to: routeTo, via: address })),
});

const remote = z.strictObject({ mac, addresses: list(address), vtep });

const network = z.strictObject({
  name,
  vni: whole(1, 0xffffff),
  vteps: list(vtep),
  learning: flag(false),
  ageingSeconds: whole(1, 1_000_000).default(300),
  mtu: whole(68, 65485).nullable().default(null),
  mssClamp: flag(false),
  floodUnknown: flag(true),
  groupPolicy: whole(0, 0xffff).nullable().default(null),
  endpoints: list(endpoint),
  remotes: list(remote),
});

const underlay = z.strictObject({
  address: z.union([vtep, z.array(vtep).min(1).max(2)]),
  port: whole(1, 65535).default(4789),
  device: z.enum(UNDERLAY_DEVICES).default('auto'),
  mtu: whole(576, 65535).nullable().default(null),
  receiveBuffer: whole(4096, 1024 * MIB).default(8 * MIB),
  sendBuffer: whole(4096, 1024 * MIB).default(8 * MIB),
  sourcePorts: whole(1, 64).default(4),
});

const offload = z.strictObject(
  Object.fromEntries(OFFLOADS.map((offloadName) => [offloadName, flag(true)])) as {
    [N in (typeof OFFLOADS)[number]]: ReturnType<typeof flag>;
  },
);

const engine = z.strictObject({
  count: whole(1, 64).default(1),
  slots: whole(32, 16384).default(256),
  spinMicros: whole(0, 1000).default(50),
  batch: whole(1, 1024).default(64),
});

export const TABLE_DEFAULTS = {
  fdb: 131072,
  neighbours: 262144,
  networks: 4096,
  endpoints: 4096,
  vteps: 4096,
} as const;

const tables = z.strictObject({
  fdb: whole(16, 1 << 24).default(TABLE_DEFAULTS.fdb),
  neighbours: whole(16, 1 << 24).default(TABLE_DEFAULTS.neighbours),
  networks: whole(1, 1 << 16).default(TABLE_DEFAULTS.networks),
  endpoints: whole(1, 1 << 16).default(TABLE_DEFAULTS.endpoints),
  vteps: whole(1, 1 << 16).default(TABLE_DEFAULTS.vteps),
});

export const schema = z.strictObject({
  underlay: underlay.nullable().default(null),
  offload: offload.prefault({}),
  engine: engine.prefault({}),
  tables: tables.prefault({}),
  networks: list(network),
  services,
  virtualServer,
});

/** What a file may say. */
export type Written = z.input<typeof schema>;

/** What it says with the defaults filled in. */
export type Parsed = z.output<typeof schema>;
