/** A process that attaches the programs which its argument describes, says so, and stays. */
import { steer } from '../../../src/dataplane/io/tcx/steering.js';

steer(JSON.parse(process.argv[2]!));
console.log('attached');
setInterval(() => {}, 1000);
