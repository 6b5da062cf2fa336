/** `ipvsadm -L -c`: connections, printed as they come, for there may be a million. */
import type { ConnectionRow } from '../../dataplane/report.js';
import { askList } from '../socket/client.js';
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
  let head = json ? '[' : connectionTitle(format);
  let printed = 0;
  const pass = async (rows: readonly ConnectionRow[]) => {
    let text = head;
    head = '';
    if (json) {
      for (const row of rows) text += `${printed++ === 0 ? '' : ','}\n${indented(row)}`;
    } else {
      const sockets = rows.flatMap((row) => [row.source, row.virtual, row.destination]);
      text += connectionLines(rows, format, await spell(sockets));
    }
    await print(text);
  };
  const rows: ConnectionRow[] = [];
  for await (const row of askList<ConnectionRow>(socket, '/v1/ipvs/connections')) {
    if (network !== undefined && row.network !== network) continue;
    if (rows.push(row) === AT_ONCE) await pass(rows.splice(0));
  }
  await pass(rows);
  if (json) await print(printed === 0 ? ']\n' : '\n]\n');
}

/** As it stands in an array that is indented by two. */
function indented(row: ConnectionRow): string {
  return JSON.stringify(row, null, 2).replace(/^/gm, '  ');
}
