/** The end of a TAP that a test holds: what it injects arrives on the interface, what leaves the interface it reads. */
import { readSync, writeSync } from 'node:fs';
import { need } from '../../../src/dataplane/io/native.js';
import { linkByName, setLink } from '../../../src/dataplane/io/rtnetlink/link.js';

const HEADER = 12; // struct virtio_net_hdr_v1
const OFFLOADS = 0x6f; // TUN_F_*: checksum, TSO4, TSO6, TSO_ECN, USO4, USO6

export interface Super {
  gsoType: number;
  gsoSize: number;
  headerLength: number;
  checksumStart: number;
  checksumOffset: number;
}

export interface Received {
  gsoType: number;
  gsoSize: number;
  frame: Uint8Array;
}

export class Wire {
  readonly index: number;
  readonly mac: string;
  readonly #fd: number;

  /** The interface `name` in a namespace, up. */
  constructor(netns: string, name: string) {
    const tap = need().openTap({
      ...{ name, netns, tun: false, multiQueue: false, headerBytes: HEADER, offloads: OFFLOADS },
      sendBuffer: 1 << 24,
    });
    this.#fd = tap.fd;
    this.index = tap.index;
    setLink(netns, tap.index, { up: true });
    this.mac = linkByName(netns, name)!.mac;
  }

  inject(frame: Uint8Array, superPacket?: Super): void {
    const header = Buffer.alloc(HEADER);
    if (superPacket !== undefined) {
      header[0] = 1; // VIRTIO_NET_HDR_F_NEEDS_CSUM
      header[1] = superPacket.gsoType;
      header.writeUInt16LE(superPacket.headerLength, 2);
      header.writeUInt16LE(superPacket.gsoSize, 4);
      header.writeUInt16LE(superPacket.checksumStart, 6);
      header.writeUInt16LE(superPacket.checksumOffset, 8);
    }
    writeSync(this.#fd, Buffer.concat([header, frame]));
  }

  /** What has come and is wanted; waits a while for the first such frame, and a moment for more. */
  async received(wanted: (frame: Uint8Array) => boolean = () => true, patienceMs = 250): Promise<Received[]> {
    const all: Received[] = [];
    for (let waited = 0; waited < patienceMs; waited += 10) {
      const before = all.length;
      all.push(...this.#drain().filter(({ frame }) => wanted(frame)));
      if (before > 0 && all.length === before) break;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return all;
  }

  #drain(): Received[] {
    const all: Received[] = [];
    const bytes = Buffer.alloc(70_000);
    for (;;) {
      const length = this.#read(bytes);
      if (length === 0) return all;
      const frame = Uint8Array.from(bytes.subarray(HEADER, length));
      all.push({ gsoType: bytes[1]!, gsoSize: bytes.readUInt16LE(4), frame });
    }
  }

  #read(into: Buffer): number {
    try {
      return readSync(this.#fd, into);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
      throw error;
    }
  }

  close(): void {
    need().close(this.#fd);
  }
}
