/**
 * Whether a destination is up, by the results of its checks in a row: `fall` bad ones take it down, `rise` good ones
 * bring it back. It begins up, as keepalived's real servers do without `alpha`.
 */
export interface Limits {
  readonly fall: number;
  readonly rise: number;
}

export class Judge {
  up = true;
  /** results in a row that speak against what it is */
  #against = 0;

  /** One more result. True if it changed what the destination is. */
  take(good: boolean, { fall, rise }: Limits): boolean {
    if (good === this.up) {
      this.#against = 0;
      return false;
    }
    if (++this.#against < (this.up ? fall : rise)) return false;
    this.#against = 0;
    this.up = good;
    return true;
  }
}
