/**
 * Capture files in the classic pcap format (draft-ietf-opsawg-pcap): a device that receives what a file holds and
 * writes what it is given to transmit, and the two encoders of which a capture stream is made.
 *
 *     file:   magic  version 2.4  0  0  snap length  link type        24 bytes
 *     record: seconds  µs or ns  bytes kept  bytes there were         16 bytes, then the frame
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import type { Batch } from '../core/batch.js';
import { drop } from '../core/drops.js';
import type { Path } from '../core/path.js';
import { FRAME_MAX, NO_PACKET } from '../core/pool.js';
import type { Device } from './device.js';

const MAGIC_MICROS = 0xa1b2c3d4;
const MAGIC_NANOS = 0xa1b23c4d;
const MAGIC_PCAPNG = 0x0a0d0d0a;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const LINK_ETHERNET = 1;
/** libpcap's own limit of a record. */
const SNAP_LENGTH_MAX = 262_144;
const CHUNK = 1 << 20;

/** The header of a capture of Ethernet frames, with microseconds, little-endian. */
export function pcapHeader(snapLength: number): Uint8Array {
  const header = new DataView(new ArrayBuffer(FILE_HEADER));
  header.setUint32(0, MAGIC_MICROS, true);
  header.setUint16(4, 2, true);
  header.setUint16(6, 4, true);
  header.setUint32(16, snapLength, true);
  header.setUint32(20, LINK_ETHERNET, true);
  return new Uint8Array(header.buffer);
}

/**
 * A record of a capture that begins with pcapHeader.
 * @param time seconds since the epoch
 * @param frame the bytes kept
 * @param length how many bytes the frame had
 */
export function pcapRecord(time: number, frame: Uint8Array, length: number): Uint8Array {
  const record = new Uint8Array(RECORD_HEADER + frame.length);
  writeRecordHeader(new DataView(record.buffer), 0, Math.round(time * 1e6), frame.length, length);
  record.set(frame, RECORD_HEADER);
  return record;
}

function writeRecordHeader(view: DataView, at: number, micros: number, kept: number, length: number): void {
  view.setUint32(at, Math.floor(micros / 1e6), true);
  view.setUint32(at + 4, micros % 1e6, true);
  view.setUint32(at + 8, kept, true);
  view.setUint32(at + 12, length, true);
}

/** A file that isn't a capture, or stops being one; or one that couldn't be written. The message names file and place. */
export class PcapError extends Error {
  readonly code = 'pcap-invalid';
}

export interface PcapOptions {
  /** file whose frames are received */
  read?: string;
  /** file that takes the transmitted frames; one that exists is overwritten */
  write?: string;
  /** microseconds since the epoch, for what is written */
  clock: () => number;
}

export class PcapDevice implements Device {
  readonly #path: Path;
  readonly #reader: PcapReader | undefined;
  readonly #writer: PcapWriter | undefined;

  /** Throws PcapError when the file to read is no capture of Ethernet frames. */
  constructor(path: Path, options: PcapOptions) {
    this.#path = path;
    this.#reader = options.read === undefined ? undefined : new PcapReader(options.read);
    this.#writer = options.write === undefined ? undefined : new PcapWriter(options.write, options.clock);
  }

  /** Whether every frame of the file has been received, or reading has ended with `error`. */
  get ended(): boolean {
    return this.#reader?.ended ?? true;
  }

  /** Why reading or writing ended early: the file is cut short or garbled from there on, or the disk is full. */
  get error(): PcapError | undefined {
    return this.#reader?.error ?? this.#writer?.error;
  }

  /** Frames that were cut to a snap length when they were captured come in as they are in the file. */
  receive(into: Batch): void {
    const { pool } = this.#path;
    while (into.room > 0 && this.#reader !== undefined && this.#reader.advance()) {
      const packet = pool.take();
      if (packet === NO_PACKET) return;
      pool.length[packet] = this.#reader.copy(pool.bytes, pool.offset[packet]!);
      into.push(packet);
    }
  }

  transmit(batch: Batch): void {
    const { pool } = this.#path;
    for (let i = 0; i < batch.count; i++) {
      const packet = batch.packets[i]!;
      const at = pool.offset[packet]!;
      if (this.#writer?.write(pool.bytes, at, pool.length[packet]!)) pool.free(packet);
      else this.#path.drop(packet, drop['device-closed']);
    }
    batch.count = 0;
  }

  /** Writes out what is still in memory. */
  flush(): void {
    this.#writer?.flush();
  }

  close(): void {
    this.#reader?.close();
    this.#writer?.close();
  }
}

/** Reads record after record through one chunk of memory, so that a file may be larger than memory. */
class PcapReader {
  ended = false;
  error: PcapError | undefined;
  readonly #name: string;
  readonly #fd: number;
  readonly #chunk = Buffer.alloc(CHUNK);
  readonly #little: boolean;
  #at = 0;
  #end = 0;
  /** Where the chunk begins in the file. */
  #chunkAt = 0;
  #open = true;
  /** Bytes of the frame that `advance` has found at `at`; -1 when it has been copied. */
  #length = -1;

  constructor(name: string) {
    this.#name = name;
    this.#fd = openSync(name, 'r');
    const fault = this.#fill(FILE_HEADER) ? headerFault(this.#chunk) : 'it is too short for a capture';
    if (fault !== undefined) {
      this.close();
      throw this.error ?? new PcapError(`${name}: ${fault}.`);
    }
    this.#little = isLittle(this.#chunk);
    this.#at = FILE_HEADER;
  }

  /** Whether there is a frame for `copy`. */
  advance(): boolean {
    if (this.#length >= 0) return true;
    if (this.ended) return false;
    if (!this.#fill(RECORD_HEADER)) return this.#stop(this.#at === this.#end ? undefined : 'is cut short');
    const length = this.#little
      ? this.#chunk.readUInt32LE(this.#at + 8)
      : this.#chunk.readUInt32BE(this.#at + 8);
    if (length > FRAME_MAX) return this.#stop(`claims ${length} bytes; at most ${FRAME_MAX} are taken`);
    if (!this.#fill(RECORD_HEADER + length)) return this.#stop('is cut short');
    this.#length = length;
    return true;
  }

  copy(into: Uint8Array, to: number): number {
    const length = this.#length;
    const from = this.#at + RECORD_HEADER;
    this.#chunk.copy(into, to, from, from + length);
    this.#at = from + length;
    this.#length = -1;
    return length;
  }

  close(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
    this.ended = true;
    this.#length = -1;
  }

  /** Whether `bytes` more stand in the chunk from `at` on, after reading if need be. */
  #fill(bytes: number): boolean {
    if (this.#end - this.#at >= bytes) return true;
    this.#chunk.copy(this.#chunk, 0, this.#at, this.#end);
    this.#chunkAt += this.#at;
    this.#end -= this.#at;
    this.#at = 0;
    try {
      while (this.#end < bytes) {
        const got = readSync(this.#fd, this.#chunk, this.#end, CHUNK - this.#end, null);
        if (got === 0) return false;
        this.#end += got;
      }
    } catch (error) {
      this.error = new PcapError(`${this.#name}: ${(error as Error).message}`);
      return false;
    }
    return true;
  }

  #stop(fault: string | undefined): false {
    if (fault !== undefined)
      this.error ??= new PcapError(`${this.#name}: the record at byte ${this.#chunkAt + this.#at} ${fault}.`);
    this.close();
    return false;
  }
}

function isLittle(header: Buffer): boolean {
  const magic = header.readUInt32LE(0);
  return magic === MAGIC_MICROS || magic === MAGIC_NANOS;
}

function headerFault(header: Buffer): string | undefined {
  const little = isLittle(header);
  const magic = header.readUInt32BE(0);
  if (magic === MAGIC_PCAPNG) return 'it is in the pcapng format; convert it to pcap';
  if (!little && magic !== MAGIC_MICROS && magic !== MAGIC_NANOS)
    return `it is no capture (it begins with 0x${magic.toString(16).padStart(8, '0')})`;
  const version = little ? header.readUInt16LE(4) : header.readUInt16BE(4);
  if (version !== 2) return `it has version ${version} of the pcap format, not 2`;
  // The upper bits tell of frame check sequences.
  const link = (little ? header.readUInt32LE(20) : header.readUInt32BE(20)) & 0xffff;
  return link === LINK_ETHERNET ? undefined : `its link type is ${link}, not Ethernet (1)`;
}

/** Gathers records in one chunk of memory and writes it when it is full. */
class PcapWriter {
  error: PcapError | undefined;
  readonly #name: string;
  readonly #clock: () => number;
  readonly #fd: number;
  readonly #chunk = Buffer.alloc(CHUNK);
  readonly #view = new DataView(this.#chunk.buffer, this.#chunk.byteOffset, CHUNK);
  #end = FILE_HEADER;
  #open = true;

  constructor(name: string, clock: () => number) {
    this.#name = name;
    this.#clock = clock;
    this.#fd = openSync(name, 'w');
    this.#chunk.set(pcapHeader(SNAP_LENGTH_MAX));
  }

  /** Whether the frame was taken. */
  write(bytes: Uint8Array, at: number, length: number): boolean {
    if (this.#end + RECORD_HEADER + length > CHUNK) this.flush();
    if (!this.#open) return false;
    writeRecordHeader(this.#view, this.#end, Math.floor(this.#clock()), length, length);
    this.#chunk.set(bytes.subarray(at, at + length), this.#end + RECORD_HEADER);
    this.#end += RECORD_HEADER + length;
    return true;
  }

  flush(): void {
    if (!this.#open) return;
    try {
      for (let at = 0; at < this.#end; ) at += writeSync(this.#fd, this.#chunk, at, this.#end - at);
      this.#end = 0;
    } catch (error) {
      this.error = new PcapError(`${this.#name}: ${(error as Error).message}`);
      this.#open = false;
      closeSync(this.#fd);
    }
  }

  close(): void {
    this.flush();
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }
}
