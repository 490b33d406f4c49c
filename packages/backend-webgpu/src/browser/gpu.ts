// WebGPU in a page or a worker: the browser's own.

/** The browser wakes what awaits. */
export const waitsByPolling = false;

/** navigator.gpu; undefined where the browser has none. */
export async function openGpu(): Promise<GPU | undefined> {
  return (globalThis.navigator as Navigator | undefined)?.gpu;
}

/** A browser tells only by being asked. */
export function hardwareIsPossible(): boolean {
  return true;
}

export function advice(): string {
  return 'this browser offers no WebGPU here: use a current Chrome, Edge, Firefox or Safari over https or localhost, with hardware acceleration on';
}
