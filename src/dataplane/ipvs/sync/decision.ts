/**
 * Which connections are told to other directors, and when (ip_vs_sync_conn_needed, sync_threshold "3 50"): one that is
 * open at its third packet and each fiftieth behind it, and at once when it begins to close.
 *
 * The kernel decides at each packet. Here somebody looks from time to time, so it is asked whether one of the packets
 * since the last look would have been such a one.
 */
import * as sctp from '../../wire/sctp.js';
import * as tcp from '../../wire/tcp.js';
import { SCTP_STATE, TCP_STATE } from '../states.js';

/** Packets of the client: the first that tells, and every how many another does. */
export const THRESHOLD = 3;
const PERIOD = 50;

/** What is told of; the others last too short. */
const TCP_TOLD = bits(
  TCP_STATE.established,
  TCP_STATE.finWait,
  TCP_STATE.close,
  TCP_STATE.closeWait,
  TCP_STATE.timeWait,
);
const SCTP_TOLD = bits(
  SCTP_STATE.established,
  SCTP_STATE.shutdownSent,
  SCTP_STATE.shutdownReceived,
  SCTP_STATE.shutdownAckSent,
  SCTP_STATE.closed,
);

/** Whether a connection in the state is told at all. */
export function isTold(protocol: number, state: number): boolean {
  if (protocol === tcp.PROTOCOL) return (TCP_TOLD & (1 << state)) !== 0;
  return protocol !== sctp.PROTOCOL || (SCTP_TOLD & (1 << state)) !== 0;
}

/**
 * @param toldState of the connection when it was told last; 0: never
 * @param packets of the client by now
 * @param seenPackets at the last look; 0: this is the first
 */
export function isNeeded(
  protocol: number,
  state: number,
  toldState: number,
  packets: number,
  seenPackets: number,
): boolean {
  if (!isTold(protocol, state)) return false;
  if (protocol === tcp.PROTOCOL) {
    if (state !== toldState && state !== TCP_STATE.established) return true;
  } else if (protocol === sctp.PROTOCOL) {
    if (state !== toldState && state !== SCTP_STATE.established) return true;
  }
  return periods(packets) !== periods(seenPackets);
}

/** How many packets that tell are among the first so many. */
const periods = (packets: number): number => Math.floor((packets - THRESHOLD) / PERIOD);

function bits(...states: number[]): number {
  return states.reduce((all, state) => all | (1 << state), 0);
}
