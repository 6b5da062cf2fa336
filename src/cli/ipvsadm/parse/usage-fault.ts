/** A command line that ipvsadm refuses: its sentence, without a name before it, and its exit code. */
export const REFUSED = 2;
/** what popt doesn't know, and what the kernel refuses */
export const UNREAD = 255;

export class UsageFault extends Error {
  readonly code = 'USAGE';
  override name = 'UsageFault';
  readonly exitCode: number;

  constructor(message: string, exitCode: number = REFUSED) {
    super(message);
    this.exitCode = exitCode;
  }
}
