const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const CAPTURED_LENGTH_AT = 8;

/** Cuts a stream of bytes in the classic pcap format (little-endian) at the ends of records, so that a capture that is broken off still opens. */
export class RecordCutter {
  records = 0;
  #rest: Buffer = Buffer.alloc(0);
  #headerSeen = false;

  /** What of the bytes so far is whole and wasn't given before. */
  cut(chunk: Buffer): Buffer {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let end = 0;
    if (!this.#headerSeen && bytes.length >= FILE_HEADER_BYTES) {
      this.#headerSeen = true;
      end = FILE_HEADER_BYTES;
    }
    while (this.#headerSeen && bytes.length - end >= RECORD_HEADER_BYTES) {
      const next = end + RECORD_HEADER_BYTES + bytes.readUInt32LE(end + CAPTURED_LENGTH_AT);
      if (next > bytes.length) break;
      end = next;
      this.records++;
    }
    this.#rest = bytes.subarray(end);
    return bytes.subarray(0, end);
  }
}
