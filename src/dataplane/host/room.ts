/**
 * Room in the tables for a configuration that replaces much of what is in force. Both don't always fit beside one
 * another: VTEPs and ports have numbers to spare for that, of the large tables what goes anyway goes first. What was
 * learned is in nobody's way.
 */
import type { Config } from '../config.js';
import { ApplyError } from '../face.js';
import { addressText, vtepWords } from './addresses.js';
import { namedBy, removeVteps } from './ageing.js';
import type { Carrier, Shared } from './carrier.js';
import { type NetworkState, removeEntries, type Tables } from './network-state.js';

type States = ReadonlyMap<string, NetworkState>;

export function vtepsOf({ networks }: Config): Set<string> {
  return new Set(
    networks.flatMap((network) => [...network.vteps, ...network.remotes.map((remote) => remote.vtep)]),
  );
}

/** For the VTEPs of a configuration, beside those in force; learned ones go for them. Throws ApplyError when there are too many. */
export async function makeRoomForVteps(
  carrier: Carrier,
  shared: Shared,
  config: Config,
  before: States,
): Promise<void> {
  const { vteps } = shared.tables;
  const wanted = vtepsOf(config);
  if (wanted.size > vteps.limit) {
    throw new ApplyError(`the table of VTEPs is full: ${wanted.size} are wanted; raise tables.vteps`);
  }
  let missing = 0;
  for (const address of wanted) if (vteps.find(...vtepWords(address)) < 0) missing++;
  let short = vteps.size + missing - vteps.capacity;
  if (short <= 0) return;
  const named = namedBy(before);
  const going = new Set<number>();
  for (const vtep of vteps.used()) {
    if (short === 0) break;
    if (named.has(vtep) || wanted.has(addressText(vteps.family(vtep), vteps.addressWords(vtep)))) continue;
    going.add(vtep);
    short--;
  }
  await removeVteps(carrier, shared, going);
}

/**
 * For the entries of a configuration: when they don't fit beside those in force, these go as far as they are to go
 * anyway, and then learned ones. True: they went. Throws ApplyError, having touched nothing, when the wanted alone are too many.
 */
export function makeRoomForEntries(tables: Tables, before: States, next: States): boolean {
  const { fdb, neighbours } = tables;
  let [entries, addresses] = [0, 0];
  for (const [name, state] of next) {
    entries += state.fdb.size;
    addresses += state.neighbours.size;
    if (entries > fdb.table.capacity) {
      throw new ApplyError(`network ${name}: the forwarding database is full; raise tables.fdb`);
    }
    if (addresses > neighbours.table.capacity) {
      throw new ApplyError(`network ${name}: the neighbour table is full; raise tables.neighbours`);
    }
  }
  const roomFor = (entries: number, addresses: number) =>
    fdb.table.size + entries <= fdb.table.capacity &&
    neighbours.table.size + addresses <= neighbours.table.capacity;
  if (roomFor(entries, addresses)) return false;
  const [newEntries, newAddresses] = newOnes(before, next);
  if (roomFor(newEntries, newAddresses)) return false;
  for (const [name, old] of before) if (old !== next.get(name)) removeEntries(tables, old, next.get(name));
  const short = fdb.table.size + newEntries - fdb.table.capacity;
  if (short > 0) fdb.evict(short);
  return true;
}

/** How many entries, and addresses of neighbours, aren't there yet. */
function newOnes(before: States, next: States): [entries: number, addresses: number] {
  let [entries, addresses] = [0, 0];
  for (const [name, state] of next) {
    const old = before.get(name);
    if (old === state) continue;
    for (const mac of state.fdb.keys()) if (!old?.fdb.has(mac)) entries++;
    for (const address of state.neighbours.keys()) if (!old?.neighbours.has(address)) addresses++;
  }
  return [entries, addresses];
}
