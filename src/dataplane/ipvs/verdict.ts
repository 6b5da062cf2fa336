/** What becomes of a packet that the virtual server has looked at. */
export const PASS = 0; // it belongs to no service: as if there were no director
export const SEND = 1; // rewritten, to be routed anew
export const DROPPED = 2; // no longer the caller's: ended and counted, or kept until the first fragment comes
export const NO_DESTINATION = 3; // nobody serves it: its sender shall be told
export const TABLE_FULL = 4; // no room for another connection
export const BARRED = 5; // the service lets it not in; the reason to drop it stands beside
export const PROXY = 6; // the SYN proxy has to see to it
export const TAKEN = 7; // it goes on under other numbers or as others, which are in the batch of what leaves already

export type Verdict =
  | typeof PASS
  | typeof SEND
  | typeof DROPPED
  | typeof NO_DESTINATION
  | typeof TABLE_FULL
  | typeof BARRED
  | typeof PROXY
  | typeof TAKEN;
