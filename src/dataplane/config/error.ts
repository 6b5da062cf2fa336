/** A configuration refused as a whole, with every fault of it: `networks[0].vni: must be 1..16777215, got 99999999`. */
export class ConfigError extends Error {
  readonly code = 'CONFIG_INVALID';
  override name = 'ConfigError';
  /** the file, or whatever else the configuration came from */
  readonly where: string;
  readonly faults: readonly string[];

  constructor(where: string, faults: readonly string[]) {
    super(`${where} is not a valid configuration:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
    this.where = where;
    this.faults = faults;
  }
}
