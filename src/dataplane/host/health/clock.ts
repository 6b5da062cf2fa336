/** Time as checks see it, so that tests can have their own. */
export interface Clock {
  /** milliseconds, never going back */
  now(): number;
  /** Calls back after so many milliseconds, unless what this returns was called before. */
  after(milliseconds: number, then: () => void): () => void;
}

/** Its timers keep no process alive. */
export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  after: (milliseconds, then) => {
    const timer = setTimeout(then, milliseconds).unref();
    return () => clearTimeout(timer);
  },
};
