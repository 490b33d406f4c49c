// The page's elements by id, checked once: a typo is an error at the start, not a null somewhere later.

export interface Elements {
  readonly form: HTMLFormElement;
  readonly inputs: HTMLFieldSetElement;
  readonly prompt: HTMLInputElement;
  readonly subjects: HTMLDataListElement;
  readonly seed: HTMLInputElement;
  readonly dice: HTMLButtonElement;
  readonly steps: HTMLInputElement;
  readonly guidance: HTMLInputElement;
  readonly go: HTMLButtonElement;
  readonly progress: HTMLProgressElement;
  readonly status: HTMLElement;
  readonly device: HTMLElement;
  readonly error: HTMLElement;
  readonly noDevice: HTMLElement;
  readonly picture: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  readonly save: HTMLAnchorElement;
}

export function elements(): Elements {
  return {
    form: find('form', HTMLFormElement),
    inputs: find('inputs', HTMLFieldSetElement),
    prompt: find('prompt', HTMLInputElement),
    subjects: find('subjects', HTMLDataListElement),
    seed: find('seed', HTMLInputElement),
    dice: find('dice', HTMLButtonElement),
    steps: find('steps', HTMLInputElement),
    guidance: find('guidance', HTMLInputElement),
    go: find('go', HTMLButtonElement),
    progress: find('progress', HTMLProgressElement),
    status: find('status', HTMLElement),
    device: find('device', HTMLElement),
    error: find('error', HTMLElement),
    noDevice: find('no-device', HTMLElement),
    picture: find('picture', HTMLElement),
    canvas: find('canvas', HTMLCanvasElement),
    save: find('save', HTMLAnchorElement),
  };
}

function find<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof type) return found;
  throw new Error(`index.html: has no ${type.name} with id '${id}'`);
}

/** A new element with text in it. */
export function element<K extends keyof HTMLElementTagNameMap>(tag: K, text = ''): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
