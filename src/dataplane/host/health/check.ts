/** What a check is, of whatever kind: it looks once whether a destination is well. */

export interface Target {
  /** where the service listens: tcp://10.0.0.1:80 */
  readonly service: string;
  readonly address: string;
  readonly port: number;
}

export interface Healthy {
  /** the weight that the destination shall have from now on; absent: as it has */
  weight?: number;
}

/**
 * Resolves when the destination is well, and rejects with what is wrong, in words for the operator. Soon after the signal
 * aborts it has let go of all that it holds, and rejects with the signal's reason.
 */
export type Check = (target: Target, signal: AbortSignal) => Promise<Healthy>;

/** The reason of a signal that aborts because the time is over. */
export class TimeOver extends Error {
  override name = 'TimeOver';

  constructor(milliseconds: number) {
    super(`no answer within ${milliseconds} ms`);
  }
}

/** Calls `then` when the signal aborts, until what this returns is called. */
export function onAbort(signal: AbortSignal, then: (reason: Error) => void): () => void {
  const aborted = () => then(signal.reason as Error);
  if (signal.aborted) queueMicrotask(aborted);
  else signal.addEventListener('abort', aborted, { once: true });
  return () => signal.removeEventListener('abort', aborted);
}
