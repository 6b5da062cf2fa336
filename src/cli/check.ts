/** `viaduct check`: whether a configuration file is valid, without a data plane. */
import { parseConfig } from '../dataplane/config.js';
import { configName, readConfig } from './config-file.js';

/** '-' is stdin. Throws UnreadableError, or ConfigError, whose message lists the faults. */
export async function check(file: string): Promise<number> {
  const { networks } = parseConfig(await readConfig(file), configName(file));
  const sum = (key: 'endpoints' | 'remotes') => networks.reduce((total, each) => total + each[key].length, 0);
  process.stdout.write(
    `${configName(file)} is valid (networks: ${networks.length}, endpoints: ${sum('endpoints')}, remotes: ${sum('remotes')})\n`,
  );
  return 0;
}
