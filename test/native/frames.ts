/** Frames by hand, as a workload behind a TAP would send them. */
import { addressBytes, modelSum } from './machine.js';

export const WORKLOAD_MAC = Uint8Array.of(2, 0, 0, 0, 0, 9);

const words = (...values: number[]) => values.flatMap((value) => [(value >> 8) & 255, value & 255]);

export function ethernet(to: Uint8Array, type: number, ...payload: Uint8Array[]): Uint8Array {
  return join(to, WORKLOAD_MAC, Uint8Array.from(words(type)), ...payload);
}

export function join(...parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Who has `target`? The workload at `sender` asks everybody. */
export function arpRequest(sender: string, target: string): Uint8Array {
  return ethernet(
    new Uint8Array(6).fill(0xff),
    0x0806,
    Uint8Array.from([0, 1, 8, 0, 6, 4, 0, 1]),
    WORKLOAD_MAC,
    addressBytes(sender),
    new Uint8Array(6),
    addressBytes(target),
  );
}

export const isArpReply = (frame: Uint8Array): boolean =>
  frame[12] === 8 && frame[13] === 6 && frame[20] === 0 && frame[21] === 2;

/**
 * An IPv4 UDP frame whose checksum is left unfinished: the sum of the pseudo-header stands in it. `payload` bytes
 * are announced; what of them is in the frame is `part`.
 */
export function udpFrame(
  to: Uint8Array,
  from: string,
  destination: string,
  port: number,
  payload: number,
  part: Uint8Array,
) {
  const source = addressBytes(from);
  const target = addressBytes(destination);
  const ip = join(Uint8Array.from([0x45, 0, ...words(28 + payload, 0, 0), 64, 17, 0, 0]), source, target);
  new DataView(ip.buffer).setUint16(10, ~modelSum(ip));
  const pseudo = modelSum(join(source, target, Uint8Array.from([0, 17, ...words(8 + payload)])));
  return ethernet(to, 0x0800, ip, Uint8Array.from(words(40_000, port, 8 + payload, pseudo)), part);
}

/** An IPv6 UDP frame whose checksum is zero. */
export function udp6Frame(
  to: Uint8Array,
  from: string,
  destination: string,
  port: number,
  payload: Uint8Array,
) {
  return ethernet(
    to,
    0x86dd,
    Uint8Array.from([0x60, 0, 0, 0, ...words(8 + payload.length), 17, 64]),
    addressBytes(from),
    addressBytes(destination),
    Uint8Array.from(words(40_000, port, 8 + payload.length, 0)),
    payload,
  );
}
