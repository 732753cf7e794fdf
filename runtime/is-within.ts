/** False when the work takes longer; it goes on all the same. */
export async function isWithin(work: Promise<void>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, false);
  });
  const result = await Promise.race([work.then(() => true), timeout]);
  clearTimeout(timer);
  return result;
}
