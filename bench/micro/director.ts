/** The director on packets of connections that it knows, another one each time: read, find, state and time, rewrite. */
import { Counters } from '../../src/dataplane/core/counters.js';
import { Path } from '../../src/dataplane/core/path.js';
import { Pool } from '../../src/dataplane/core/pool.js';
import { Parsed, parse } from '../../src/dataplane/ipvs/packet.js';
import type { ServiceSpec } from '../../src/dataplane/ipvs/service.js';
import { SEND } from '../../src/dataplane/ipvs/verdict.js';
import { Answerer } from '../../src/dataplane/overlay/answer.js';
import { Neighbours } from '../../src/dataplane/overlay/neighbour.js';
import { allocateVirtualServer, VirtualServer } from '../../src/dataplane/virtual-server.js';
import * as ethernet from '../../src/dataplane/wire/ethernet.js';
import { type Case, sunk } from './case.js';
import { BATCH, expect, FRAME_BYTES, writeFrame } from './stage.js';

const VIRTUAL = 0x0a0a0003;
const PORT = 7000;
const UDP = 17;
/** As bench/reference/nat.c has them. */
const clientIp = (i: number): number => 0x64400000 + Math.floor(i / 50_000);
const clientPort = (i: number): number => 10_000 + (i % 50_000);

const SERVICE: ServiceSpec = {
  ...{ index: 0, network: 0, family: 4, protocol: UDP, address: [VIRTUAL, 0, 0, 0], port: PORT },
  ...{ scheduler: 'rr', slowStartSeconds: 0, preferNear: false, timeouts: { tcp: 0, tcpFin: 0, udp: 0 } },
  flags: { fallback: false, port: false, tableSize: 251, expirationSeconds: 60 },
  destinations: [
    {
      ...{ row: 0, family: 4, address: [0x0a010203, 0, 0, 0], port: 8080, weight: 1, forward: 'nat' },
      ...{ tunnel: { type: 'ipip', port: 0, checksum: 'none' }, near: false },
      ...{ upperThreshold: 0, lowerThreshold: 0 },
    },
  ],
};

function prepare(n: number): () => void {
  const pool = new Pool(BATCH * 2);
  const path = new Path(pool, new Counters(8, 8));
  const neighbours = new Neighbours(Neighbours.allocate(16));
  const memory = allocateVirtualServer(n + 1024, 1);
  const { services, director } = new VirtualServer(
    path,
    memory,
    0,
    neighbours,
    new Answerer(path, neighbours),
  );
  services.set(SERVICE, 0);
  director.beginTurn(1000);
  const parsed = new Parsed();
  const { view } = pool;
  const packets = Array.from({ length: BATCH }, (_, i) => {
    const packet = pool.take();
    pool.length[packet] = FRAME_BYTES;
    writeFrame(pool.bytes, pool.offset[packet]!, 1, i);
    view.setUint16(pool.offset[packet]! + ethernet.HEADER + 26, 0x1234);
    return packet;
  });
  /** A packet of the connection's client; whether it goes on. */
  const send = (packet: number, i: number): boolean => {
    const ip = pool.offset[packet]! + ethernet.HEADER;
    view.setInt32(ip + 12, clientIp(i));
    view.setInt32(ip + 16, VIRTUAL);
    view.setInt32(ip + 20, (clientPort(i) << 16) | PORT);
    return (
      parse(pool, ip, ip + FRAME_BYTES - ethernet.HEADER, parsed) === 0 &&
      director.balance(packet, parsed) === SEND
    );
  };
  for (let i = 0; i < n; i++) expect(send(packets[i % BATCH]!, i), `connection ${i} does not begin`);
  let now = 1000;
  let client = 0;
  return () => {
    now += 1;
    director.beginTurn(now);
    let sent = 0;
    for (let i = 0; i < BATCH; i++) {
      if (send(packets[i]!, client)) sent++;
      client = client + 7919 < n ? client + 7919 : (client + 7919) % n;
    }
    sunk.value += sent;
  };
}

export function directorCases(): Case[] {
  return [1000, 1_000_000].map((n) => ({
    ...{ name: `director, ${n.toLocaleString('en-US')} connections`, unit: 'packet', units: BATCH },
    ...{ reference: ['nat', n] as const, prepare: () => prepare(n) },
  }));
}
