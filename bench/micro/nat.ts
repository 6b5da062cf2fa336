/** The virtual server's work on one packet: reading it, and rewriting one end of it. */
import * as nat from '../../src/dataplane/ipvs/nat.js';
import { Parsed, parse } from '../../src/dataplane/ipvs/packet.js';
import * as ethernet from '../../src/dataplane/wire/ethernet.js';
import { type Case, sunk } from './case.js';
import { BATCH, expect, stage } from './stage.js';

const VIRTUAL = 0x0a0a0003;
const SERVER = 0x0a010203;

export function natCases(): Case[] {
  const { pool, packets } = stage(1000, 'remote');
  const parsed = new Parsed();
  const read = (packet: number): number => {
    const at = pool.offset[packet]!;
    return parse(pool, at + ethernet.HEADER, at + pool.length[packet]!, parsed);
  };
  expect(read(packets[0]!) === 0 && parsed.destination0 === VIRTUAL, 'nat: the packet is not read');
  // A checksum, so that there is one to keep right.
  for (const packet of packets) pool.view.setUint16(pool.offset[packet]! + ethernet.HEADER + 26, 0x1234);
  let there = false;
  return [
    {
      ...{ name: 'virtual server: read', unit: 'packet', units: BATCH },
      prepare: () => () => {
        let ports = 0;
        for (let i = 0; i < BATCH; i++) {
          read(packets[i]!);
          ports += parsed.destinationPort;
        }
        sunk.value += ports;
      },
    },
    {
      ...{ name: 'virtual server: read, rewrite the destination', unit: 'packet', units: BATCH },
      prepare: () => () => {
        there = !there;
        const address = there ? SERVER : VIRTUAL;
        const port = there ? 8080 : 7000;
        for (let i = 0; i < BATCH; i++) {
          read(packets[i]!);
          nat.rewriteDestination4(pool, packets[i]!, parsed, address, port);
        }
      },
    },
  ];
}
