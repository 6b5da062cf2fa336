/** What ends a command: one line for the user, and the exit code. */
export const FAILED = 1;
export const USAGE = 2;
export const NOBODY_ANSWERS = 3;

/** What the data plane said when it refused. */
export interface Answer {
  code: string;
  message: string;
  /** of several edits, the one that can't be */
  edit?: number;
}

export class Failure extends Error {
  readonly code = 'COMMAND_FAILED';
  override name = 'Failure';
  readonly exitCode: number;

  constructor(message: string, exitCode: number = FAILED) {
    super(message);
    this.exitCode = exitCode;
  }
}

export class Refused extends Failure {
  override name = 'Refused';
  readonly answer: Answer;

  constructor(answer: Answer) {
    super(answer.message);
    this.answer = answer;
  }
}
