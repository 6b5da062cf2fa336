/** The two programs before the kernel's own verifier, and what they do to each kind of frame. The wire is a TAP of the test's. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { type Host, Lab } from '../../../src/cli/lab/lab.js';
import { addon } from '../../../src/dataplane/io/native.js';
import { addAddress } from '../../../src/dataplane/io/rtnetlink/address.js';
import { linkByName } from '../../../src/dataplane/io/rtnetlink/link.js';
import { attach, type SteeringOptions, steer } from '../../../src/dataplane/io/tcx/steering.js';
import * as ethernet from '../../../src/dataplane/wire/ethernet.js';
import * as ipv4 from '../../../src/dataplane/wire/ipv4.js';
import {
  datagram,
  type Ends,
  echoFrame,
  ipFrame,
  resolutionFrame,
  synFrame,
  tagged,
  udpFrame,
} from './frames.js';
import { type Received, Wire } from './wire.js';

const asRoot = addon !== undefined && process.getuid?.() === 0 ? test : test.skip;

const PORT = 4789;
const MAC = '02:00:00:09:5b:02'; // of the host at the other end of the wire
const MAC_LOW = ethernet.parseMac(MAC).low;
const PAYLOAD = new Uint8Array(100).fill(0x5a);

interface Place {
  host: Host;
  netns: string;
  wire: Wire;
  tap: Wire;
  /** from the other end to our VTEP address, in each family */
  ends4: Ends;
  ends6: Ends;
  options: SteeringOptions;
  /** Attaches, until the place is left; with `options` unless others are given. */
  steer(options?: SteeringOptions): void;
}

/** A host whose real interface is one of our wires; it has two addresses of each family, the first is the tunnel's. */
async function withPlace(work: (place: Place) => Promise<void>): Promise<void> {
  const lab = new Lab();
  const closing: { close(): void }[] = [];
  try {
    const host = await lab.host('h');
    const netns = `/run/netns/${host.netns}`;
    await host.run('sysctl', ['-qw', 'net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0']);
    const wire = new Wire(netns, 'wire');
    const tap = new Wire(netns, 'tap');
    closing.push(wire, tap);
    for (const cidr of ['10.9.0.1/24', '10.9.0.3/24', 'fd09::1/64', 'fd09::3/64'])
      addAddress(netns, wire.index, cidr);
    await host.ip(`neigh add 10.9.0.2 lladdr ${MAC} dev wire`);
    await host.ip(`neigh add fd09::2 lladdr ${MAC} dev wire`);
    const macs = { sourceMac: MAC, destinationMac: wire.mac };
    const options = {
      ...{ netns, tap: tap.index, real: wire.index, port: PORT, address4: '10.9.0.1', address6: 'fd09::1' },
      onlySuperPackets: false,
    };
    await work({
      ...{ host, netns, wire, tap, options },
      ends4: { ...macs, source: '10.9.0.2', destination: '10.9.0.1' },
      ends6: { ...macs, source: 'fd09::2', destination: 'fd09::1' },
      steer: (other = options) => void closing.push(steer(other)),
    });
  } finally {
    for (const one of closing.reverse()) one.close();
    await lab.remove();
  }
}

/** Whether a frame comes from, or goes to, the host at the other end; the interfaces have chatter of their own. */
const from = (frame: Uint8Array): boolean => ethernet.macLow(frame, ethernet.SOURCE) === MAC_LOW;
const to = (frame: Uint8Array): boolean => ethernet.macLow(frame, ethernet.DESTINATION) === MAC_LOW;

/** What the host's stack answers to the other end. */
async function answers({ wire }: Place): Promise<string[]> {
  return (await wire.received(to)).map(({ frame }) => {
    const type = ethernet.etherType(frame, 0);
    if (type === ethernet.ARP) return 'arp';
    if (type === ethernet.IPV4) return frame[23] === 6 ? 'tcp' : `icmp ${frame[34]}/${frame[35]}`;
    return frame[20] === 6 ? 'tcp' : `icmp6 ${frame[54]}/${frame[55]}`;
  });
}

/** What came through the TAP from the other end. */
const tunnelled = ({ tap }: Place): Promise<Received[]> => tap.received(from);

const UNREACHABLE4 = 'icmp 3/3';
const UNREACHABLE6 = 'icmp6 1/4';

/**
 * Whether the stack gets the frame, and our TAP doesn't, within a few tries: a process that is just being started holds copies
 * of our descriptors, so a link may outlive its closing by that moment.
 */
async function stackHas(place: Place, frame: Uint8Array): Promise<boolean> {
  for (let attempt = 0; attempt < 20; attempt++) {
    place.wire.inject(frame);
    if ((await answers(place)).length > 0) return (await tunnelled(place)).length === attempt;
  }
  return false;
}

const plain = (frame: Uint8Array): Received => ({ gsoType: 0, gsoSize: 0, frame });

for (const family of [4, 6] as const) {
  const endsOf = (place: Place) => (family === 4 ? place.ends4 : place.ends6);
  const unreachable = family === 4 ? UNREACHABLE4 : UNREACHABLE6;

  asRoot(
    `IPv${family}: a datagram to our address and port goes to the TAP as it is, and not to the stack`,
    (t) =>
      withPlace(async (place) => {
        const frame = udpFrame(endsOf(place), PORT, PAYLOAD);
        place.wire.inject(frame);
        t.deepEqual(await answers(place), [unreachable], 'before anything is attached, the stack gets it');
        const steering = steer(place.options);
        place.wire.inject(frame);
        t.deepEqual(await tunnelled(place), [plain(frame)]);
        t.deepEqual(await answers(place), []);
        steering.close();
        t.true(await stackHas(place, frame), 'after it is closed, the stack gets it again');
      }),
  );

  asRoot(
    `IPv${family}: a datagram to another port, address or MAC, or of a VLAN, doesn't go to the TAP`,
    (t) =>
      withPlace(async (place) => {
        place.steer();
        const ends = endsOf(place);
        const other = { ...ends, destination: family === 4 ? '10.9.0.3' : 'fd09::3' };
        place.wire.inject(udpFrame(ends, PORT + 1, PAYLOAD));
        t.deepEqual(await answers(place), [unreachable]);
        place.wire.inject(udpFrame(other, PORT, PAYLOAD));
        t.deepEqual(await answers(place), [unreachable]);
        place.wire.inject(udpFrame({ ...ends, destinationMac: '02:00:00:00:00:99' }, PORT, PAYLOAD));
        place.wire.inject(tagged(udpFrame(ends, PORT, PAYLOAD), 7));
        t.deepEqual(await answers(place), []);
        t.deepEqual(await tunnelled(place), []);
      }),
  );

  asRoot(`IPv${family}: TCP to the same port number, echoes and address resolution reach the stack`, (t) =>
    withPlace(async (place) => {
      place.steer();
      const ends = endsOf(place);
      place.wire.inject(synFrame(ends, PORT));
      t.deepEqual(await answers(place), ['tcp']);
      place.wire.inject(echoFrame(ends));
      t.deepEqual(await answers(place), [family === 4 ? 'icmp 0/0' : 'icmp6 129/0']);
      place.wire.inject(resolutionFrame(ends));
      t.deepEqual(await answers(place), [family === 4 ? 'arp' : 'icmp6 136/0']);
      t.deepEqual(await tunnelled(place), []);
    }),
  );

  asRoot(`IPv${family}: a frame that is cut short before the port's end doesn't go to the TAP`, (t) =>
    withPlace(async (place) => {
      place.steer();
      const frame = udpFrame(endsOf(place), PORT, PAYLOAD);
      const portEnd = ethernet.HEADER + (family === 4 ? 20 : 40) + 4;
      for (let length = ethernet.HEADER; length < portEnd; length++)
        place.wire.inject(frame.subarray(0, length));
      t.deepEqual(await tunnelled(place), []);
      place.wire.inject(frame.subarray(0, portEnd));
      t.is((await tunnelled(place)).length, 1);
    }),
  );

  asRoot(`IPv${family}: without an address of the other family, that family is the stack's`, (t) =>
    withPlace(async (place) => {
      const { address4 = '', address6 = '', ...options } = place.options;
      place.steer(family === 4 ? { ...options, address4 } : { ...options, address6 });
      place.wire.inject(udpFrame(place.ends4, PORT, PAYLOAD));
      t.deepEqual(await answers(place), family === 4 ? [] : [UNREACHABLE4]);
      place.wire.inject(udpFrame(place.ends6, PORT, PAYLOAD));
      t.deepEqual(await answers(place), family === 6 ? [] : [UNREACHABLE6]);
      t.is((await tunnelled(place)).length, 1);
    }),
  );

  asRoot(
    `IPv${family}: where only super-packets are wanted, they go to the TAP whole and single datagrams to the stack`,
    (t) =>
      withPlace(async (place) => {
        place.steer({ ...place.options, onlySuperPackets: true });
        const ends = endsOf(place);
        place.wire.inject(udpFrame(ends, PORT, PAYLOAD));
        t.deepEqual(await answers(place), [unreachable]);
        const gsoSize = 1000;
        const frame = ipFrame(ends, 17, datagram(ends, PORT, new Uint8Array(20 * gsoSize), true));
        const checksumStart = frame.length - 20 * gsoSize - 8;
        const headerLength = checksumStart + 8;
        place.wire.inject(frame, { gsoType: 5, gsoSize, headerLength, checksumStart, checksumOffset: 6 });
        t.deepEqual(await tunnelled(place), [{ gsoType: 5, gsoSize, frame }]);
      }),
  );
}

asRoot('IPv4: fragments and packets with options reach the stack', (t) =>
  withPlace(async (place) => {
    place.steer();
    const { wire, ends4 } = place;
    const whole = datagram(ends4, PORT, PAYLOAD);
    wire.inject(ipFrame(ends4, 17, whole.subarray(0, 64), { fragment: ipv4.MORE_FRAGMENTS }));
    wire.inject(ipFrame(ends4, 17, whole.subarray(64), { fragment: 64 / 8 }));
    t.deepEqual(await answers(place), [UNREACHABLE4], 'the stack puts fragments together');
    wire.inject(ipFrame(ends4, 17, whole, { options: Uint8Array.of(1, 1, 1, 0) }));
    t.deepEqual(await answers(place), [UNREACHABLE4], 'the stack reads options');
    t.deepEqual(await tunnelled(place), []);
  }),
);

asRoot('IPv6: fragments and packets with extension headers reach the stack', (t) =>
  withPlace(async (place) => {
    place.steer();
    const { wire, ends6 } = place;
    const whole = datagram(ends6, PORT, PAYLOAD);
    const first = Uint8Array.of(17, 0, 0, 1, 0, 0, 0, 7, ...whole.subarray(0, 64));
    const last = Uint8Array.of(17, 0, 0, 64, 0, 0, 0, 7, ...whole.subarray(64));
    wire.inject(ipFrame(ends6, 44, first));
    wire.inject(ipFrame(ends6, 44, last));
    t.deepEqual(await answers(place), [UNREACHABLE6], 'the stack puts fragments together');
    wire.inject(ipFrame(ends6, 60, Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0, ...whole)));
    t.deepEqual(await answers(place), [UNREACHABLE6], 'the stack reads extension headers');
    t.deepEqual(await tunnelled(place), []);
  }),
);

asRoot('whatever is written to the TAP leaves by the real interface as it is', (t) =>
  withPlace(async (place) => {
    const { tap, wire, ends4, ends6 } = place;
    place.steer();
    const frames = [
      udpFrame(ends4, PORT, PAYLOAD),
      udpFrame(ends6, 9, PAYLOAD),
      resolutionFrame(ends4),
      tagged(echoFrame(ends4), 7),
    ];
    for (const frame of frames) tap.inject(frame);
    const left = await wire.received(from);
    t.deepEqual(left, frames.map(plain));
  }),
);

asRoot(
  'a program that the verifier refuses says why, and one that finds no interface leaves none attached',
  (t) =>
    withPlace(async (place) => {
      const endless = Uint8Array.of(0x05, 0, 0xff, 0xff, 0, 0, 0, 0); // a jump to itself
      t.throws(() => attach(place.netns, place.wire.index, endless, 'endless'), { message: /BPF_PROG_LOAD/ });
      t.throws(() => steer({ ...place.options, real: 9999 }), { code: 'ENODEV' });
      t.throws(() => steer({ ...place.options, tap: 9999 }), { code: 'ENODEV' });
      place.tap.inject(udpFrame(place.ends4, PORT, PAYLOAD));
      t.deepEqual(await place.wire.received(from), []);
    }),
);

asRoot('the programs go with a process that is killed', (t) =>
  withPlace(async (place) => {
    const script = fileURLToPath(new URL('steer-process.js', import.meta.url));
    const child = spawn(process.execPath, [script, JSON.stringify(place.options)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(child.stdout, 'data');
      place.wire.inject(udpFrame(place.ends4, PORT, PAYLOAD));
      t.is((await tunnelled(place)).length, 1);
      t.deepEqual(await answers(place), []);
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    t.true(await stackHas(place, udpFrame(place.ends4, PORT, PAYLOAD)));
  }),
);

/** Sends 100 bytes of 0x5a to the tunnel and to another port, and tells what comes back. */
const ECHO_SOCKET = `
  const [family, address, port] = process.argv.slice(1);
  const socket = require('node:dgram').createSocket(family);
  socket.on('message', (bytes, from) => console.log(bytes + ' from ' + from.address));
  socket.send(Buffer.alloc(100, 0x5a), Number(port) + 1, address);
  socket.send(Buffer.alloc(100, 0x5a), Number(port), address);`;

asRoot(
  'between two hosts: a socket’s datagram comes out of the TAP, and what is written there reaches a socket',
  async (t) => {
    const lab = new Lab();
    const [a, b] = [await lab.host('a'), await lab.host('b')];
    try {
      const left = { host: a, name: 'left', addresses: ['10.9.0.2/24', 'fd09::2/64'] };
      await lab.link(left, { host: b, name: 'right', addresses: ['10.9.0.1/24', 'fd09::1/64'] });
      const netns = `/run/netns/${b.netns}`;
      const tap = new Wire(netns, 'tap');
      const real = linkByName(netns, 'right')!;
      const sourceMac = linkByName(`/run/netns/${a.netns}`, 'left')!.mac;
      const addresses = { address4: '10.9.0.1', address6: 'fd09::1' };
      const steering = steer({
        ...{ netns, tap: tap.index, real: real.index, port: PORT, onlySuperPackets: false, ...addresses },
      });
      for (const [family, source, destination] of [
        ['udp4', '10.9.0.2', '10.9.0.1'],
        ['udp6', 'fd09::2', 'fd09::1'],
      ] as const) {
        const socket = a.spawn(process.execPath, ['-e', ECHO_SOCKET, family, destination, String(PORT)]);
        const [{ frame }] = await tap.received((frame) => frame.at(-1) === 0x5a, 5000);
        const datagramAt = frame.length - 100 - 8;
        const port = (frame[datagramAt]! << 8) | frame[datagramAt + 1]!;
        const back = {
          sourceMac: real.mac,
          destinationMac: sourceMac,
          source: destination,
          destination: source,
        };
        tap.inject(udpFrame(back, port, new TextEncoder().encode('hello')));
        t.is(String(await once(socket.stdout!, 'data')), `hello from ${destination}\n`);
      }
      steering.close();
      tap.close();
    } finally {
      await lab.remove();
    }
  },
);
