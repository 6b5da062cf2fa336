/** `viaduct schema`: the JSON schema of the configuration file. */
import { jsonSchema } from '../dataplane/config.js';

export async function schema(): Promise<number> {
  process.stdout.write(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
  return 0;
}
