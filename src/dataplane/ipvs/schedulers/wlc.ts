/** Weighted least connections (ip_vs_wlc.c): the least overhead for its weight; of equals the first. */
import { leastLoaded, scanning } from './scan.js';

export const wlc = scanning(leastLoaded);
