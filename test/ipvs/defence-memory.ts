/** A secret that everybody knows, for tests. */
import {
  allocateDefence,
  type DefenceMemory,
  SECRET_BYTES,
} from '../../src/dataplane/ipvs/defence/memory.js';

export const testDefence = (connections: number): DefenceMemory =>
  allocateDefence(
    connections,
    Uint8Array.from({ length: SECRET_BYTES }, (_, i) => i),
  );
