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
  if (!globalThis.isSecureContext)
    return 'browsers offer WebGPU to secure pages only: open the page over https or from localhost';
  if (!(globalThis.navigator as Navigator | undefined)?.gpu)
    return 'this browser does not offer WebGPU here: use a current Chrome, Edge, Firefox or Safari';
  return 'switch on hardware acceleration in the settings of the browser, update the driver of the graphics card; in a remote desktop or a virtual machine there may be none';
}
