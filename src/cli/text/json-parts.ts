/** A list as JSON.stringify(list, null, 2) has it, made a part at a time. */
export class JsonParts {
  #count = 0;
  #begun = false;

  next(values: readonly object[]): string {
    let text = this.#begun ? '' : '[';
    this.#begun = true;
    for (const value of values) {
      text += `${this.#count++ === 0 ? '' : ','}\n${JSON.stringify(value, null, 2).replace(/^/gm, '  ')}`;
    }
    return text;
  }

  /** What closes the list, and the end of its line. */
  end(): string {
    return `${this.#begun ? '' : '['}${this.#count === 0 ? '' : '\n'}]\n`;
  }
}
