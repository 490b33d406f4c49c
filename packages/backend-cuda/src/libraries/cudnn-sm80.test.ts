// cuDNN's engines for a described A100, without a GPU: see cudnn-sm90.test.ts.

import { describe, expect, test } from 'vitest';
import { buildPlan, cudnnIsMissing, describedCudnn, finishes, sd15Attentions, sd15Convolutions, unanswered } from './cudnn-testing.ts'; // prettier-ignore

const missing = cudnnIsMissing();

describe.skipIf(missing)("cuDNN's engines on sm_80", () => {
  const library = missing ? undefined! : describedCudnn('sm_80');

  test.each(['float16', 'bfloat16'] as const)('every SD 1.5 convolution in %s', (dtype) => {
    for (const finish of Object.values(finishes))
      expect(unanswered(library, sd15Convolutions(finish, dtype))).toEqual([]);
  });
  test('the first engine of each can be built, with a workspace of a few MiB', () => {
    const fused = sd15Convolutions(finishes.residual).filter((_, i) => i % 8 === 1);
    const ready = [finishes.plain, finishes.bias].flatMap((f) => sd15Convolutions(f));
    const attentions = sd15Attentions().filter(({ op }) => op.kind === 'attention' && op.mask === 'none');
    for (const problem of [...ready, ...fused, ...attentions])
      expect([problem.name, buildPlan('sm_80', library, problem) <= 64 << 20]).toEqual([problem.name, true]);
  });
  test.each(['float16', 'bfloat16'] as const)('every SD 1.5 attention in %s but the causal one', (dtype) => {
    expect(unanswered(library, sd15Attentions(dtype))).toEqual(['attention 2x12 77x77 d64 causal']);
  });
});
