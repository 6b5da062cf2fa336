/** The thread of one case: makes that one only, measures it, and says how many millions of units a second it did. */
import { parentPort, workerData } from 'node:worker_threads';
import { PATH_CASES } from '../path/path.js';
import { type Place, runPass } from './case.js';
import { MICRO_CASES } from './micro.js';

const { place, seconds } = workerData as { place: Place; seconds: number };
const makers = place.bench === 'micro' ? MICRO_CASES : PATH_CASES;
parentPort!.postMessage(runPass(makers[place.maker]!()[place.index]!, seconds));
