/** What `viaduct show` prints of the virtual server: services with their destinations, and connections. */
import type { ConnectionRow, ServiceCounts, ServiceRow, Traffic } from '../../dataplane/report.js';
import { trafficColumns } from './rates.js';
import { type Column, columns, numbers, renderTable } from './table.js';
import { duration } from './units.js';
import type { View } from './view.js';

/** A service, or a destination below it. */
interface Line extends Traffic {
  /** the same only for the same one */
  key: string;
  cells: string[];
}

/** Received is what came from clients, sent what went to them. */
const traffic = ({ inPackets, inBytes, outPackets, outBytes }: ServiceCounts): Traffic => ({
  ...{ rxPackets: inPackets, rxBytes: inBytes, txPackets: outPackets, txBytes: outBytes },
});

export const services: View<ServiceRow[]> = (rows, { paint, before }) => {
  const then = before && { value: before.value.flatMap(linesOf), seconds: before.seconds };
  const shown = trafficColumns<Line>(({ key }) => key, then);
  return renderTable(
    [
      ...columns('NETWORK', 'SERVICE', 'SCHEDULER', 'FORWARD'),
      ...numbers('WEIGHT', 'ACTIVE', 'INACTIVE', 'CONNS'),
      ...shown.columns,
    ],
    rows.flatMap(linesOf).map((line) => [...line.cells, ...shown.cells(line)]),
    paint,
  );
};

function linesOf({ network, listen, scheduler, stats, destinations }: ServiceRow): Line[] {
  const key = `${network ?? ''} ${listen}`;
  const sum = (field: 'active' | 'inactive') =>
    String(destinations.reduce((all, row) => all + row[field], 0));
  const own = [
    network ?? '-',
    listen,
    scheduler,
    '-',
    '-',
    sum('active'),
    sum('inactive'),
    String(stats.conns),
  ];
  return [
    { key, cells: own, ...traffic(stats) },
    ...destinations.map(({ address, forward, weight, active, inactive, stats }) => ({
      key: `${key} ${address}`,
      cells: ['', `  ${address}`, '', forward, ...[weight, active, inactive, stats.conns].map(String)],
      ...traffic(stats),
    })),
  ];
}

export const CONNECTION_COLUMNS: readonly Column[] = [
  ...columns('NETWORK', 'PROTOCOL', 'STATE'),
  ...numbers('EXPIRES'),
  ...columns('SOURCE', 'VIRTUAL', 'DESTINATION'),
];

export const connectionCells = (row: ConnectionRow): string[] => [
  ...[row.network ?? '-', row.protocol, row.state, duration(row.expiresSeconds)],
  ...[row.source, row.virtual, row.destination],
];

export const connections: View<ConnectionRow[]> = (rows, { paint }) =>
  renderTable(CONNECTION_COLUMNS, rows.map(connectionCells), paint);
