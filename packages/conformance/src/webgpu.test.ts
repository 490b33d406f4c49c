// The reference cases of fixtures/ on WebGPU.

import { join } from 'node:path';
import { expect, test } from 'vitest';
import { webgpu } from '@darkroom/backend-webgpu';
import { adapterIsMissing } from '@darkroom/backend-webgpu/testing';
import { localFiles, root } from '@darkroom/diffusers/testing';
import { runConformance } from './run.ts';

const missing = await adapterIsMissing();

test.skipIf(missing)('every case of the fixtures passes on WebGPU', async () => {
  const device = await webgpu();
  const failures: string[] = [];
  const report = await runConformance({
    device,
    files: localFiles(join(root, 'fixtures/goldens')),
    onFailure: (id, why) => void failures.push(`${id}: ${why}`),
  });
  expect(failures).toEqual([]);
  expect(report).toEqual({ passed: 123, failed: 0, unsupported: 0 });
  expect(device.memory().live).toBe(0);
  device[Symbol.dispose]();
});
