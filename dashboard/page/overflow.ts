/** Marks a box whose content goes on to the right: a phone shows no scroll bar before somebody scrolls. */
export function markOverflow(box: HTMLElement): void {
  const mark = (): void => {
    const isMore = String(box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
    if (box.dataset.more !== isMore) box.dataset.more = isMore;
  };
  box.addEventListener("scroll", mark, { passive: true });
  const sizes = new ResizeObserver(mark);
  sizes.observe(box);
  for (const child of box.children) sizes.observe(child);
}
