// The page's elements by id, checked once: a typo is an error at the start, not a null somewhere later.

const types = {
  form: HTMLFormElement,
  prompt: HTMLInputElement,
  subjects: HTMLUListElement,
  seed: HTMLInputElement,
  dice: HTMLButtonElement,
  steps: HTMLInputElement,
  guidance: HTMLInputElement,
  go: HTMLButtonElement,
  stop: HTMLButtonElement,
  progress: HTMLProgressElement,
  status: HTMLElement,
  device: HTMLElement,
  note: HTMLElement,
  error: HTMLElement,
  picture: HTMLElement,
  canvas: HTMLCanvasElement,
  caption: HTMLElement,
  save: HTMLAnchorElement,
};
type Elements = { readonly [K in keyof typeof types]: InstanceType<(typeof types)[K]> };

/** The elements by their ids. @throws Error naming an id that the page has not */
export function elements(): Elements {
  return Object.fromEntries(
    Object.entries(types).map(([id, type]) => {
      const found = document.getElementById(id);
      if (!(found instanceof type)) throw new Error(`index.html: has no ${type.name} with id '${id}'`);
      return [id, found];
    }),
  ) as unknown as Elements;
}

/** A new element with text in it. */
export function element<K extends keyof HTMLElementTagNameMap>(tag: K, text = ''): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
