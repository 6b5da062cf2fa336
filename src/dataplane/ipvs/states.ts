/**
 * What a connection's state becomes by a packet, and how long it lasts there: IPVS's tables (ip_vs_proto_tcp.c,
 * ip_vs_proto_udp.c, ip_vs_proto_sctp.c), its order of states, its names as `ipvsadm -Lc` prints them.
 *
 * A packet of the client is INPUT, one of the server OUTPUT. Who forwards without seeing the answers (route, tunnel) uses
 * INPUT_ONLY for the client's, until a packet of the server shows that it does see them.
 */
import * as sctp from '../wire/sctp.js';
import * as tcp from '../wire/tcp.js';
import * as udp from '../wire/udp.js';
import type { Memory, Parsed } from './packet.js';

export const INPUT = 0;
export const OUTPUT = 1;
export const INPUT_ONLY = 2;
export type Direction = typeof INPUT | typeof OUTPUT | typeof INPUT_ONLY;

/** TCP's states; the number is what a synchronisation message carries. */
export const TCP_STATE = {
  ...{ none: 0, established: 1, synSent: 2, synReceived: 3, finWait: 4, timeWait: 5, close: 6 },
  ...{ closeWait: 7, lastAck: 8, listen: 9, synAck: 10 },
} as const;

const TCP_NAMES = [
  ...['NONE', 'ESTABLISHED', 'SYN_SENT', 'SYN_RECV', 'FIN_WAIT', 'TIME_WAIT', 'CLOSE', 'CLOSE_WAIT'],
  ...['LAST_ACK', 'LISTEN', 'SYNACK'],
];
const TCP_CODES = ['NO', 'ES', 'SS', 'SR', 'FW', 'TW', 'CL', 'CW', 'LA', 'LI', 'SA'];

/** Seconds in each state. */
const TCP_SECONDS = [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120];

/** The four rows of a direction, by flag; the column is the state before. */
const NORMAL: Record<'input' | 'output' | 'inputOnly', Rows> = {
  input: {
    syn: 'SR ES ES SR SR SR SR SR SR SR SR',
    fin: 'CL CW SS TW TW TW CL CW LA LI TW',
    ack: 'ES ES SS ES FW TW CL CW CL LI ES',
    rst: 'CL CL CL SR CL CL CL CL LA LI SR',
  },
  output: {
    syn: 'SS ES SS SR SS SS SS SS SS LI SR',
    fin: 'TW FW SS TW FW TW CL TW LA LI TW',
    ack: 'ES ES SS ES FW TW CL CW LA ES ES',
    rst: 'CL CL SS CL CL TW CL CL CL CL CL',
  },
  inputOnly: {
    syn: 'SR ES ES SR SR SR SR SR SR SR SR',
    fin: 'CL FW SS TW FW TW CL CW LA LI TW',
    ack: 'ES ES SS ES FW TW CL CW CL LI ES',
    rst: 'CL CL CL SR CL CL CL CL LA LI CL',
  },
};

/** Under secure_tcp a connection counts only once the server has answered. */
const SECURE: typeof NORMAL = {
  input: {
    syn: 'SR ES ES SR SR SR SR SR SR SR SA',
    fin: 'CL CW SS TW TW TW CL CW LA LI SA',
    ack: 'ES ES SS SR FW TW CL CW CL LI SA',
    rst: 'CL CL CL SR CL CL CL CL LA LI CL',
  },
  output: { ...NORMAL.output, syn: 'SS ES SS SA SS SS SS SS SS LI SA' },
  inputOnly: { ...NORMAL.inputOnly, syn: 'SA ES ES SR SA SA SA SA SA SA SA' },
};

interface Rows {
  syn: string;
  fin: string;
  ack: string;
  rst: string;
}

const row = (text: string, codes: readonly string[]): number[] =>
  text.split(' ').map((code) => codes.indexOf(code));

/** [secure][direction][event][state]; an event is a bit pattern of ACK, RST, SYN, FIN (flags & 0x17 packed). */
const EVENTS = 16;
const TCP_STATES = TCP_CODES.length;
const TCP_TABLE = new Int8Array(2 * 3 * EVENTS * TCP_STATES);

/** FIN, SYN and RST as they stand in the flags, ACK beside them. */
const event = (flags: number): number => (flags & 7) | ((flags & tcp.ACK) >> 1);

[NORMAL, SECURE].forEach((table, secure) => {
  [table.input, table.output, table.inputOnly].forEach((rows, direction) => {
    for (let flags = 0; flags < 0x20; flags++) {
      const text =
        flags & tcp.RST
          ? rows.rst
          : flags & tcp.SYN
            ? rows.syn
            : flags & tcp.FIN
              ? rows.fin
              : flags & tcp.ACK
                ? rows.ack
                : Array(TCP_STATES).fill('CL').join(' ');
      TCP_TABLE.set(row(text, TCP_CODES), ((secure * 3 + direction) * EVENTS + event(flags)) * TCP_STATES);
    }
  });
});

/** TCP's next state: RST counts before SYN, FIN and ACK; a segment with none of them closes. */
export const nextTcp = (direction: Direction, state: number, flags: number, secure: boolean): number =>
  TCP_TABLE[((secure ? 3 + direction : direction) * EVENTS + event(flags)) * TCP_STATES + state]!;

/** SCTP's states, as the real server is thought to have them. */
export const SCTP_STATE = {
  ...{ none: 0, init1: 1, init: 2, cookieSent: 3, cookieReplied: 4, cookieWait: 5, cookie: 6 },
  ...{ cookieEchoed: 7, established: 8, shutdownSent: 9, shutdownReceived: 10, shutdownAckSent: 11 },
  ...{ rejected: 12, closed: 13 },
} as const;

const SCTP_NAMES = [
  ...['NONE', 'INIT1', 'INIT', 'C-SENT', 'C-REPLIED', 'C-WAIT', 'COOKIE', 'C-ECHOED', 'ESTABLISHED'],
  ...['S-SENT', 'S-RECEIVED', 'S-ACK-SENT', 'REJECTED', 'CLOSED'],
];
const SCTP_CODES = ['NO', 'I1', 'IN', 'CS', 'CR', 'CW', 'CO', 'CE', 'ES', 'SS', 'SR', 'SA', 'RJ', 'CL'];
const SCTP_STATES = SCTP_CODES.length;
const SCTP_SECONDS = [2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61];

/** What a chunk type is to the table; every other chunk is as DATA. */
const SCTP_EVENTS = [
  ...[sctp.DATA, sctp.INIT, sctp.INIT_ACK, sctp.COOKIE_ECHO, sctp.COOKIE_ACK, sctp.SHUTDOWN],
  ...[sctp.SHUTDOWN_ACK, sctp.SHUTDOWN_COMPLETE, sctp.ERROR, sctp.ABORT],
];

/** A row a chunk type, in the order above; the column is the state before. */
const SCTP_ROWS: readonly (readonly string[])[] = [
  [
    'ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL',
    'I1 IN IN CS CR CW CO CE ES SS SR SA IN IN',
    'CW CW CW CS CR CO CO CE ES SS SR SA RJ CL',
    'CR IN IN CR CR CW CO CE ES SS SR SA RJ CL',
    'ES I1 IN CS CR CW CO ES ES SS SR SA RJ CL',
    'SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL',
    'CL IN IN CS CR CW CO CE ES CL SR CL RJ CL',
    'CL CL CL CS CR CW CO CE ES SS SR CL RJ CL',
    'CL I1 IN CS CR CW CO CL ES SS SR SA RJ CL',
    'CL CL CL CL CL RJ CL CL CL CL CL CL CL CL',
  ],
  [
    'ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL',
    'CW CW CW CW CW CW CW CW ES CW CW CW CW CW',
    'CS CS CS CS CR CW CO CE ES SS SR SA RJ CL',
    'CE CE CE CE CE CE CE CE ES SS SR SA RJ CL',
    'ES ES ES ES ES ES ES ES ES SS SR SA RJ CL',
    'SS SS SS SS SS SS SS SS SS SS SR SA RJ CL',
    'SA SA SA SA SA CW CO CE ES SA SA SA RJ CL',
    'CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL',
    'CL CL CL CL CL CW CO CE ES SS SR SA RJ CL',
    'CL RJ CL CL CL CL CL CL CL CL CL CL CL CL',
  ],
  [
    'ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL',
    'I1 IN IN IN IN IN CO CE ES SS SR SA IN IN',
    'CE CE CE CE CE CE CO CE ES SS SR SA RJ CL',
    'ES ES ES ES ES ES CO CE ES SS SR SA RJ CL',
    'ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL',
    'SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL',
    'CL IN IN CS CR CW CO CE CL CL SR CL RJ CL',
    'CL CL CL CL CL CW CO CE ES SS CL CL RJ CL',
    'CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL',
    'CL CL CL CL CL RJ CL CL CL CL CL CL CL CL',
  ],
];

/** [direction][chunk type, up to 15][state] */
const CHUNKS = 16;
const SCTP_TABLE = new Int8Array(3 * CHUNKS * SCTP_STATES);

SCTP_ROWS.forEach((rows, direction) => {
  for (let chunk = 0; chunk < CHUNKS; chunk++) {
    const at = Math.max(0, SCTP_EVENTS.indexOf(chunk));
    SCTP_TABLE.set(row(rows[at]!, SCTP_CODES), (direction * CHUNKS + chunk) * SCTP_STATES);
  }
});

/** SCTP's next state by the chunk that `chunkType` found. */
export const nextSctp = (direction: Direction, state: number, chunk: number): number =>
  SCTP_TABLE[(direction * CHUNKS + (chunk < CHUNKS ? chunk : sctp.DATA)) * SCTP_STATES + state]!;

/**
 * The type of chunk that decides: the first, but an ABORT right behind COOKIE ECHO or COOKIE ACK. -1: there is no
 * chunk, and the state stays.
 */
export function chunkType(memory: Memory, parsed: Parsed): number {
  const { view } = memory;
  const first = parsed.transport + sctp.HEADER;
  if (first + sctp.CHUNK_HEADER > parsed.end) return -1;
  const type = view.getUint8(first);
  if (type !== sctp.COOKIE_ECHO && type !== sctp.COOKIE_ACK) return type;
  const length = view.getUint16(first + 2);
  const second = first + ((length + 3) & ~3);
  if (length < sctp.CHUNK_HEADER || second + sctp.CHUNK_HEADER > parsed.end) return type;
  return view.getUint8(second) === sctp.ABORT ? sctp.ABORT : type;
}

/** The one state of a UDP connection; it is never active. */
export const UDP_STATE = 0;

/** Names of a template's states: whether a connection has been made by it. */
const TEMPLATE_NAMES = ['NONE', 'ASSURED'];

/** Seconds of a TCP connection that has not seen its first packet yet. */
export const NEW_SECONDS = 3;

/** Whether a connection in the state counts as active: TCP while opening or open, SCTP while open, UDP never. */
export function isActive(protocol: number, state: number): boolean {
  if (protocol === tcp.PROTOCOL) return state >= 0 && (ACTIVE_TCP & (1 << state)) !== 0;
  return protocol === sctp.PROTOCOL && state === SCTP_STATE.established;
}
/** Whether it is the state of one that both ends have agreed on. */
export function isOpen(protocol: number, state: number): boolean {
  if (protocol === tcp.PROTOCOL) return state === TCP_STATE.established;
  return protocol === sctp.PROTOCOL && state === SCTP_STATE.established;
}

const ACTIVE_TCP =
  (1 << TCP_STATE.established) |
  (1 << TCP_STATE.synSent) |
  (1 << TCP_STATE.synReceived) |
  (1 << TCP_STATE.synAck);

/** The state's name as `ipvsadm -Lc` prints it. */
export function stateName(protocol: number, state: number, template = false): string {
  if (template) return TEMPLATE_NAMES[state] ?? 'ERR!';
  if (protocol === tcp.PROTOCOL) return TCP_NAMES[state] ?? 'ERR!';
  if (protocol === sctp.PROTOCOL) return SCTP_NAMES[state] ?? 'ERR!';
  if (protocol === udp.PROTOCOL) return state === UDP_STATE ? 'UDP' : 'ERR!';
  return 'NONE';
}

/** How many states the protocol has: what a synchronisation message may name. */
export function stateCount(protocol: number): number {
  if (protocol === tcp.PROTOCOL) return TCP_STATES;
  return protocol === sctp.PROTOCOL ? SCTP_STATES : 1;
}

/** How long a connection lasts in each state after its last packet. One for a service or for all. */
export class Timeouts {
  /** seconds, by state */
  readonly tcp = Int32Array.from(TCP_SECONDS);
  readonly sctp = Int32Array.from(SCTP_SECONDS);
  /** seconds */
  udp = 300;

  /**
   * `ipvsadm --set tcp tcpfin udp`: seconds, 0 leaves what is. tcp is that of ESTABLISHED, tcpfin of FIN_WAIT
   * (ip_vs_set_timeout).
   */
  set(tcpSeconds: number, finSeconds: number, udpSeconds: number): void {
    if (tcpSeconds > 0) this.tcp[TCP_STATE.established] = tcpSeconds;
    if (finSeconds > 0) this.tcp[TCP_STATE.finWait] = finSeconds;
    if (udpSeconds > 0) this.udp = udpSeconds;
  }

  /**
   * What a service says of its own: likewise, but its tcpfin is that of both half-closed states. IPVS leaves CLOSE_WAIT at
   * 60 s whatever one sets, which ends connections whose client has said all and waits for a slow answer.
   */
  setOwn(tcpSeconds: number, finSeconds: number, udpSeconds: number): void {
    this.set(tcpSeconds, finSeconds, udpSeconds);
    if (finSeconds > 0) this.tcp[TCP_STATE.closeWait] = finSeconds;
  }

  /** All of them as in `other`. */
  take(other: Timeouts): void {
    this.tcp.set(other.tcp);
    this.sctp.set(other.sctp);
    this.udp = other.udp;
  }

  milliseconds(protocol: number, state: number): number {
    if (protocol === tcp.PROTOCOL) return this.tcp[state]! * 1000;
    if (protocol === sctp.PROTOCOL) return this.sctp[state]! * 1000;
    return this.udp * 1000;
  }
}
