/** Columns that show totals, and while somebody watches what has been added a second. */
import type { Traffic } from '../../dataplane/report.js';
import { type Column, numbers } from './table.js';
import { bitRate, bytes, packetRate } from './units.js';

const TRAFFIC = numbers('RX PACKETS', 'RX', 'TX PACKETS', 'TX');
const RATES = numbers('RX/S', 'RX RATE', 'TX/S', 'TX RATE');

/** Totals, or rates while there is something to compare with. */
export function trafficColumns<T extends Traffic>(
  key: (row: T) => string,
  before: { value: T[]; seconds: number } | undefined,
): { columns: Column[]; cells: (row: T) => string[] } {
  if (before === undefined) {
    const cells = (row: T) => [
      String(row.rxPackets),
      bytes(row.rxBytes),
      String(row.txPackets),
      bytes(row.txBytes),
    ];
    return { columns: TRAFFIC, cells };
  }
  const old = new Map(before.value.map((row) => [key(row), row]));
  const cells = (row: T) => {
    const then = old.get(key(row));
    const rate = (field: keyof Traffic) =>
      Math.max(0, (row[field] - (then?.[field] ?? row[field])) / before.seconds);
    return [
      packetRate(rate('rxPackets')),
      bitRate(rate('rxBytes')),
      packetRate(rate('txPackets')),
      bitRate(rate('txBytes')),
    ];
  };
  return { columns: RATES, cells };
}

export function perSecond<T extends Record<string, number>>(
  value: T,
  before: { value: T; seconds: number } | undefined,
): { title: string[]; cell: (name: string) => string[] } {
  if (before === undefined) return { title: [], cell: () => [] };
  const cell = (name: string) => {
    const then = before.value[name] ?? 0;
    return [Math.max(0, ((value[name] ?? 0) - then) / before.seconds).toFixed(0)];
  };
  return { title: ['PER SECOND'], cell };
}
