// WebGPU in a page or a worker: the browser's own.

/** False: in a browser, promises of the GPU resolve without polling. */
export const waitsByPolling = false;

/** navigator.gpu; undefined where the browser has none. */
export async function openGpu(): Promise<GPU | undefined> {
  return (globalThis.navigator as Navigator | undefined)?.gpu;
}

/** True: only requestAdapter() tells whether a browser has a hardware GPU. */
export function hardwareIsPossible(): boolean {
  return true;
}

export function advice(): string {
  return 'this browser offers no WebGPU here: use a current Chrome, Edge, Firefox or Safari over https or localhost, with hardware acceleration on';
}
