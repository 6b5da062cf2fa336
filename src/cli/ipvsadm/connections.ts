/** `ipvsadm -L -c`: connections, printed as they come, for there may be a million. */
import type { ConnectionRow } from '../../dataplane/report.js';
import { askList } from '../socket/client.js';
import { JsonParts } from '../text/json-parts.js';
import type { Spell } from './names.js';
import type { Format } from './parse/command-line.js';
import { connectionLines, connectionTitle } from './print/listing.js';

/** Rows whose names are asked for, and which are printed, at once. */
const AT_ONCE = 512;

export interface ConnectionList {
  format: Format;
  /** only those of its clients; undefined: all */
  network: string | undefined;
  json: boolean;
}

export async function listConnections(
  socket: string,
  { format, network, json }: ConnectionList,
  spell: (sockets: readonly string[]) => Promise<Spell>,
  print: (text: string) => Promise<void>,
): Promise<void> {
  const list = new JsonParts();
  let head = connectionTitle(format);
  const pass = async (rows: readonly ConnectionRow[]) => {
    if (json) return print(list.next(rows));
    const sockets = rows.flatMap((row) => [row.source, row.virtual, row.destination]);
    const text = head + connectionLines(rows, format, await spell(sockets));
    head = '';
    await print(text);
  };
  const rows: ConnectionRow[] = [];
  for await (const row of askList<ConnectionRow>(socket, '/v1/ipvs/connections')) {
    if (network !== undefined && row.network !== network) continue;
    if (rows.push(row) === AT_ONCE) await pass(rows.splice(0));
  }
  await pass(rows);
  if (json) await print(list.end());
}
