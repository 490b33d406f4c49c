// cuDNN's engines for a described T4, without a GPU: see cudnn-sm90.test.ts. Our own kernels run the ops that cuDNN
// lacks there.

import { describe, expect, test } from 'vitest';
import { cudnnIsMissing, describedBackend, describedCudnn, finishes, sd15Attentions, sd15Convolutions, unanswered } from './cudnn-testing.ts'; // prettier-ignore

const missing = cudnnIsMissing();

describe.skipIf(missing)("cuDNN's engines on sm_75", () => {
  const library = missing ? undefined! : describedCudnn('sm_75');

  test('every SD 1.5 convolution in float16', () => {
    for (const finish of [finishes.plain, finishes.bias, finishes.residual])
      expect(unanswered(library, sd15Convolutions(finish))).toEqual([]);
  });
  test('no convolution in bfloat16 and no attention', () => {
    for (const all of [sd15Convolutions(finishes.plain, 'bfloat16'), sd15Attentions()])
      expect(unanswered(library, all).length).toBe(all.length);
  });
  test('attention is left to our own kernels', () => {
    const backend = describedBackend('sm_75', [library]);
    for (const { op, args } of sd15Attentions()) {
      const ids = backend.choices(op, args).map((c) => c.id);
      expect(ids.length).toBeGreaterThan(0);
      expect(ids.filter((id) => id.startsWith('cudnn'))).toEqual([]);
    }
  });
});
