// cuDNN's engines for a described A100, without a GPU: see cudnn-sm90.test.ts.

import { describe, expect, test } from 'vitest';
import { cudnnIsMissing, describedCudnn, finishes, sd15Attentions, sd15Convolutions, unanswered } from './cudnn-testing.ts'; // prettier-ignore

const missing = cudnnIsMissing();

describe.skipIf(missing)("cuDNN's engines on sm_80", () => {
  const library = missing ? undefined! : describedCudnn('sm_80');

  test.each(['float16', 'bfloat16'] as const)('every SD 1.5 convolution in %s', (dtype) => {
    for (const finish of Object.values(finishes))
      expect(unanswered(library, sd15Convolutions(finish, dtype))).toEqual([]);
  });
  test.each(['float16', 'bfloat16'] as const)('every SD 1.5 attention in %s but the causal one', (dtype) => {
    expect(unanswered(library, sd15Attentions(dtype))).toEqual(['attention 2x12 77x77 d64 causal']);
  });
});
