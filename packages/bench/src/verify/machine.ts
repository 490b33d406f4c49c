// Facts of the machine: the device, paths and versions of CUDA's libraries, and cuDNN's description of the device, with
// which its heuristics can be queried later on a machine without a GPU.

import { CudnnDescriptor, openCuda } from '@darkroom/backend-cuda';
import type { Cuda } from '@darkroom/backend-cuda';
import type { StageContext } from './stage.ts';

export async function machine({ options, open, record }: StageContext): Promise<void> {
  const { caps } = await open('off');
  const { fingerprint, maxBufferBytes } = caps;
  record({ kind: 'fact', name: 'device', value: { fingerprint, maxBufferBytes } });
  if (options.device !== 'cuda') return;
  const cuda = openCuda();
  record({ kind: 'fact', name: 'libraries', value: cuda.libraries });
  const versions = {
    driver: cuda.driver.version(),
    nvrtc: cuda.nvrtc.version(),
    cublasLt: cuda.cublasLt?.version(),
    cudnn: cuda.cudnn?.version(),
  };
  record({ kind: 'fact', name: 'versions', value: versions });
  if (cuda.cudnn) record({ kind: 'fact', name: 'cudnn device', value: describeDevice(cuda.cudnn) });
}

/** cuDNN's own description of device 0, as its heuristics take it; a refusal is told, because nothing depends on it. */
function describeDevice(cudnn: NonNullable<Cuda['cudnn']>): unknown {
  try {
    using device = new CudnnDescriptor(cudnn, 'deviceprop');
    device.set('devicepropDeviceId', 'int32', 0).finalize();
    const name = 'devicepropJsonRepresentation';
    const bytes = device.get(name, 'char', device.count(name, 'char'));
    const end = bytes.indexOf(0);
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(end < 0 ? bytes : bytes.slice(0, end))));
  } catch (error) {
    return { refused: (error as Error).message };
  }
}
