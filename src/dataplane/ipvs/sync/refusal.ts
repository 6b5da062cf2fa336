/** What another director tells and can't be right, or isn't had here (ip_vs_proc_sync_conn). */
import * as sctp from '../../wire/sctp.js';
import * as tcp from '../../wire/tcp.js';
import * as udp from '../../wire/udp.js';
import { FORWARD } from '../destination.js';
import { FTP_PORT } from '../service.js';
import { stateCount } from '../states.js';
import { FLAG, type SyncConnection } from '../sync-message.js';

/** Why an entry isn't taken; undefined: it was. */
export type EntryRefusal =
  | 'unknown-protocol'
  | 'unknown-state'
  | 'unknown-forward'
  | 'no-address'
  | 'unknown-engine'
  | 'unknown-helper'
  | 'already-replaced'
  | 'stale'
  | 'table-full';

const TEMPLATE_STATES = 2;

/** Before the table is looked at. */
export function refusalOf(told: SyncConnection): EntryRefusal | undefined {
  const { protocol, flags, state, client, virtual, destination } = told;
  const template = (flags & FLAG.template) !== 0;
  const known = protocol === tcp.PROTOCOL || protocol === udp.PROTOCOL || protocol === sctp.PROTOCOL;
  if (!known && !(template && protocol === 0)) return 'unknown-protocol';
  if (state >= (template ? TEMPLATE_STATES : stateCount(protocol))) return 'unknown-state';
  if ((flags & FLAG.forward) > FORWARD.route) return 'unknown-forward';
  if (isNone(destination) || isNone(virtual) || (!template && isNone(client))) return 'no-address';
  if (!template && (told.clientPort === 0 || told.virtualPort === 0)) return 'no-address';
  const engine = told.engineData !== undefined || told.engineName !== undefined;
  if (engine && (!template || told.engineName !== 'sip' || !told.engineData?.length)) return 'unknown-engine';
  if (template) return undefined;
  const shifted = (flags & (FLAG.inSequence | FLAG.outSequence)) !== 0;
  if (!shifted) return undefined;
  // FTP's is the only helper here.
  const helped = protocol === tcp.PROTOCOL && told.virtualPort === FTP_PORT;
  return helped && told.inSequence && told.outSequence ? undefined : 'unknown-helper';
}

const isNone = (words: readonly number[]): boolean => words.every((word) => word === 0);
