/** Look-ups in the forwarding database: a key that is there, and another one each time. */
import { Fdb, remoteTarget } from '../../src/dataplane/overlay/fdb.js';
import { swap16, swap32 } from '../../src/dataplane/wire/order.js';
import { type Case, sunk } from './case.js';
import { BATCH, expect, MAC_HIGH, macLow } from './stage.js';

export function tableCases(): Case[] {
  return [1000, 100_000].map((n) => {
    const prepare = () => {
      // Keys as they lie in memory, as the packet path has them.
      const fdb = new Fdb(Fdb.allocate(n));
      for (let i = 0; i < n; i++) fdb.setStatic(1, swap16(MAC_HIGH), swap32(macLow(i)), remoteTarget(0));
      expect(
        fdb.find(1, swap16(MAC_HIGH), swap32(macLow(n - 1))) > 0,
        'the table has not what was put into it',
      );
      let key = 0;
      return () => {
        let found = 0;
        for (let i = 0; i < BATCH; i++) {
          found += fdb.findNative(1, MAC_HIGH, macLow(key)) & 1;
          key = key + 7919 < n ? key + 7919 : (key + 7919) % n;
        }
        sunk.value += found;
      };
    };
    const name = `table, ${n.toLocaleString('en-US')} entries`;
    return { name, unit: 'lookup', units: BATCH, prepare, reference: ['table', n] as const };
  });
}
