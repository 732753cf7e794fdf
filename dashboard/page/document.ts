/** The element that index.html has under this id. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`index.html must have an element #${id}`);
  return found;
}

type Attributes = Readonly<Record<string, string | number>>;

/** A new element. Text goes in as text, never as markup: much of it is what somebody wrote into a topic. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

export function svg(tag: string, attributes: Attributes = {}, ...children: readonly (Node | string)[]): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** Writes only what is new: a text that is set again is drawn again, and selected text is lost. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}
