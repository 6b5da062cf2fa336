/** The words of a command line as popt cuts them: long and short options, combined short ones, arguments that may be left out. */

export interface OptionSpec {
  /** what the option means; two spellings may share one */
  readonly tag: string;
  readonly long: string;
  readonly short?: string | undefined;
  /** maybe: an argument that doesn't begin with a dash */
  readonly takes: 'nothing' | 'text' | 'maybe';
}

export type Token =
  /** `word` is the last word of the line that it took */
  | { readonly kind: 'option'; readonly tag: string; readonly value: string | null; readonly word: string }
  | { readonly kind: 'argument'; readonly text: string }
  /** nothing comes after it */
  | { readonly kind: 'fault'; readonly sentence: string };

export function* tokens(
  words: readonly string[],
  options: readonly OptionSpec[],
): Generator<Token, void, undefined> {
  let next = 0;
  const fault = (why: string): Token => ({ kind: 'fault', sentence: `${words[next - 1]}: ${why}` });
  /** `rest` is what of the word belongs to the option: undefined when there is nothing. */
  const take = (option: OptionSpec, rest: string | undefined): Token => {
    let value: string | null = null;
    if (rest !== undefined) value = rest;
    else if (next < words.length && (option.takes === 'text' || !words[next]!.startsWith('-')))
      value = words[next++]!;
    else if (option.takes === 'text') return fault('missing argument');
    return { kind: 'option', tag: option.tag, value, word: words[next - 1]! };
  };

  while (next < words.length) {
    const word = words[next++]!;
    if (word === '--') break;
    if (!word.startsWith('-') || word === '-') {
      yield { kind: 'argument', text: word };
    } else if (word.startsWith('--')) {
      const equals = word.indexOf('=');
      const long = equals < 0 ? word.slice(2) : word.slice(2, equals);
      const option = options.find((each) => each.long === long);
      if (option === undefined) return yield fault('unknown option');
      const value = equals < 0 ? undefined : word.slice(equals + 1);
      if (option.takes !== 'nothing') {
        const token = take(option, value);
        yield token;
        if (token.kind === 'fault') return;
      } else if (value !== undefined) return yield fault('option does not take an argument');
      else yield { kind: 'option', tag: option.tag, value: null, word };
    } else {
      for (let at = 1; at < word.length; at++) {
        const option = options.find((each) => each.short === word[at]);
        if (option === undefined) return yield fault('unknown option');
        if (option.takes === 'nothing') {
          yield { kind: 'option', tag: option.tag, value: null, word };
          continue;
        }
        const rest = word.slice(at + (word[at + 1] === '=' ? 2 : 1));
        const token = take(option, rest === '' ? undefined : rest);
        yield token;
        if (token.kind === 'fault') return;
        break;
      }
    }
  }
  while (next < words.length) yield { kind: 'argument', text: words[next++]! };
}
