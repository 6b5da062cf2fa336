/** What `look` finds, looked for again until it isn't undefined or the time is over. */
export async function until<T>(look: () => T | undefined, ms = 5000): Promise<T | undefined> {
  for (const end = Date.now() + ms; ; ) {
    const found = look();
    if (found !== undefined || Date.now() > end) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
