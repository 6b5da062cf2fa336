/** `viaduct show connections`: a part at a time, for there may be a million. */
import type { ConnectionRow } from '../dataplane/report.js';
import { askList } from './socket/client.js';
import { JsonParts } from './text/json-parts.js';
import { printer } from './text/printer.js';
import { CONNECTION_COLUMNS, connectionCells } from './text/service-views.js';
import { painter } from './text/style.js';
import { TableParts } from './text/table.js';

/** Rows that are printed at once; their widest cells make the columns. */
const AT_ONCE = 512;

export async function showConnections(socket: string, json: boolean): Promise<number> {
  const print = printer(process.stdout);
  const list = new JsonParts();
  const table = new TableParts(CONNECTION_COLUMNS, painter(process.stdout));
  const pass = (rows: readonly ConnectionRow[]) =>
    print(json ? list.next(rows) : table.next(rows.map(connectionCells)));
  const rows: ConnectionRow[] = [];
  for await (const row of askList<ConnectionRow>(socket, '/v1/connections')) {
    if (rows.push(row) === AT_ONCE) await pass(rows.splice(0));
  }
  await pass(rows);
  if (json) await print(list.end());
  return 0;
}
