/** What `viaduct show` prints of each table, for people. */
import {
  type Applied,
  DROPS,
  type DropReason,
  type EndpointRow,
  type FdbRow,
  type NeighbourRow,
  type NetworkRow,
  type Stats,
  type Traffic,
  type VtepRow,
} from '../../dataplane/report.js';
import { perSecond, trafficColumns } from './rates.js';
import { connections, services } from './service-views.js';
import { columns, numbers, renderTable } from './table.js';
import { bytes, duration } from './units.js';
import type { View } from './view.js';

export const networks: View<NetworkRow[]> = (rows, { paint }) =>
  renderTable(
    [
      ...columns('NETWORK'),
      ...numbers('VNI', 'MTU', 'ENDPOINTS', 'REMOTES'),
      ...columns('LEARNING', 'VTEPS'),
    ],
    rows.map((row) => [
      row.name,
      String(row.vni),
      String(row.mtu),
      String(row.endpoints),
      String(row.remotes),
      row.learning ? 'yes' : 'no',
      row.vteps.join(' ') || '-',
    ]),
    paint,
  );

export const endpoints: View<EndpointRow[]> = (rows, { paint, before }) => {
  const traffic = trafficColumns<EndpointRow>((row) => `${row.netns} ${row.interface}`, before);
  return renderTable(
    [...columns('NETWORK', 'NETNS', 'INTERFACE', 'MAC', 'ADDRESSES'), ...numbers('MTU'), ...traffic.columns],
    rows.map((row) => [
      row.network,
      row.netns,
      row.interface,
      row.mac,
      row.addresses.join(' ') || '-',
      String(row.mtu),
      ...traffic.cells(row),
    ]),
    paint,
  );
};

export const vteps: View<VtepRow[]> = (rows, { paint, before }) => {
  const traffic = trafficColumns<VtepRow>((row) => row.address, before);
  return renderTable(
    [...columns('VTEP', 'UNDERLAY', 'NEXT HOP'), ...numbers('PATH MTU'), ...traffic.columns],
    rows.map((row) => [
      row.address,
      row.underlay,
      row.nextHop ?? '-',
      String(row.pathMtu),
      ...traffic.cells(row),
    ]),
    paint,
  );
};

export const fdb: View<FdbRow[]> = (rows, { paint }) =>
  renderTable(
    [...columns('NETWORK'), ...numbers('VNI'), ...columns('MAC', 'KIND', 'VIA', 'ORIGIN'), ...numbers('AGE')],
    rows.map((row) => [
      row.network,
      String(row.vni),
      row.mac,
      row.kind,
      row.via,
      row.origin,
      row.ageSeconds === null ? '-' : duration(row.ageSeconds),
    ]),
    paint,
  );

export const neighbours: View<NeighbourRow[]> = (rows, { paint }) =>
  renderTable(
    columns('NETWORK', 'ADDRESS', 'MAC'),
    rows.map((row) => [row.network, row.address, row.mac]),
    paint,
  );

export const drops: View<Record<DropReason, number>> = (value, { paint, all, before }) => {
  const shown = DROPS.filter(([reason]) => all || (value[reason] ?? 0) > 0);
  if (shown.length === 0) return 'No packet was dropped.\n';
  const rate = perSecond(value, before);
  return renderTable(
    [...columns('REASON'), ...numbers('PACKETS', ...rate.title), ...columns('MEANING')],
    shown.map(([reason, sentence]) => [
      reason,
      String(value[reason] ?? 0),
      ...rate.cell(reason),
      paint('dim', sentence),
    ]),
    paint,
  );
};

export const counters: View<Record<string, number>> = (value, { paint, before }) => {
  const rate = perSecond(value, before);
  return renderTable(
    [...columns('COUNTER'), ...numbers('VALUE', ...rate.title)],
    Object.entries(value).map(([name, count]) => [name, String(count), ...rate.cell(name)]),
    paint,
  );
};

export const stats: View<Stats> = (value, { paint }) => {
  const { underlay } = value;
  const offloads = (which: (name: string, used: boolean) => boolean) =>
    Object.entries(underlay.offloads)
      .filter(([name, used]) => which(name, used))
      .map(([name]) => name)
      .join(' ') || '-';
  const dropped = Object.values(value.drops).reduce((sum, count) => sum + count, 0);
  const running = (Date.now() - Date.parse(value.startedAt)) / 1000;
  const pairs: [string, string][] = [
    ['started', `${value.startedAt} (${duration(running)} ago)`],
    ['underlay', `${underlay.kind}, ${underlay.addresses.join(' ')} port ${underlay.port}`],
    ['underlay MTU', `${underlay.mtu} bytes`],
    ['offloads on', offloads((_, used) => used)],
    ['offloads off', offloads((name, used) => !used && !underlay.offloadsWanted[name])],
    ['not to be had', offloads((name, used) => !used && underlay.offloadsWanted[name] === true)],
    ['engines', String(value.engines)],
    ['configuration', `generation ${value.generation}`],
    ['endpoints', `${value.endpoints.length}${trafficText(value.endpoints)}`],
    ['VTEPs', `${value.vteps.length}${trafficText(value.vteps)}`],
    ['packets', `${value.counters.rxPackets} received, ${value.counters.txPackets} sent, ${dropped} dropped`],
  ];
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, text]) => `${paint('bold', name.padEnd(width))}  ${text}\n`).join('');
};

export const VIEWS = {
  ...{ networks, endpoints, fdb, neighbours, vteps, drops, counters, stats, services, connections },
} as const;

/** One line of what an apply did. */
export function appliedText(applied: Applied): string {
  const { networks: n, endpoints: e, fdb: f } = applied;
  if (!applied.changed) return `nothing to change (generation ${applied.generation})`;
  return [
    `generation ${applied.generation} in ${Math.round(applied.milliseconds)} ms:`,
    `networks +${n.added} -${n.removed} ~${n.changed},`,
    `endpoints +${e.added} -${e.removed}, fdb +${f.added} -${f.removed}`,
  ].join(' ');
}

function trafficText(rows: readonly Traffic[]): string {
  const sum = (field: keyof Traffic) => rows.reduce((total, row) => total + row[field], 0);
  return rows.length === 0 ? '' : `, ${bytes(sum('rxBytes'))} received, ${bytes(sum('txBytes'))} sent`;
}
