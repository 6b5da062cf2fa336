/** What ends a command: one line for the user, and the exit code. */
export const FAILED = 1;
export const USAGE = 2;
export const NOBODY_ANSWERS = 3;

export class Failure extends Error {
  readonly code = 'COMMAND_FAILED';
  override name = 'Failure';
  readonly exitCode: number;

  constructor(message: string, exitCode: number = FAILED) {
    super(message);
    this.exitCode = exitCode;
  }
}
