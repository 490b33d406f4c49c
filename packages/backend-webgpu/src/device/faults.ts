// Errors that WebGPU reports later than the call that caused them. They are kept and thrown by the next call that the
// user makes: validation errors and a lost device as DeviceError, memory as OutOfMemoryError.

import type { DarkroomError } from '@darkroom/core';
import { DeviceError, OutOfMemoryError } from '@darkroom/core';

export class Faults {
  #first: DarkroomError | undefined;
  #lost: DeviceError | undefined;
  readonly #scopes = new Set<Promise<void>>();
  #disposed = false;

  constructor(device: GPUDevice) {
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      const { error } = event;
      this.report(
        typeof GPUOutOfMemoryError !== 'undefined' && error instanceof GPUOutOfMemoryError
          ? new OutOfMemoryError(`webgpu: ${error.message}`)
          : new DeviceError(`webgpu: ${error.message}`),
      );
    });
    void device.lost.then(({ reason, message }) => {
      if (!this.#disposed)
        this.#lost = new DeviceError(`webgpu: the device was lost (${reason}): ${message}`);
    });
  }

  /** Runs `body` in an error scope; `say` words its errors, which are reported. */
  watch<T>(
    device: GPUDevice,
    filter: GPUErrorFilter,
    body: () => T,
    say: (message: string) => DarkroomError,
  ): T {
    device.pushErrorScope(filter);
    const result = body();
    const answer = device.popErrorScope().then(
      (error) => {
        this.#scopes.delete(answer);
        if (error) this.report(say(error.message));
      },
      () => void this.#scopes.delete(answer), // a lost device reports itself
    );
    this.#scopes.add(answer);
    return result;
  }

  /** Keeps the first error that is a cause; WebGPU marks its consequences as such. */
  report(error: DarkroomError): void {
    if (!this.#first || isConsequence(this.#first)) this.#first = error;
  }

  /** Awaits all error scopes so far, then checks. @throws as check. */
  async settle(): Promise<void> {
    await Promise.all(this.#scopes);
    this.check();
  }

  /** @throws the error reported since the last call; at every call once the device is lost. */
  check(): void {
    if (this.#disposed) throw new DeviceError('webgpu: the device was disposed');
    if (this.#lost) throw this.#lost;
    if (!this.#first || (isConsequence(this.#first) && this.#scopes.size > 0)) return;
    const error = this.#first;
    this.#first = undefined;
    throw error;
  }

  dispose(): void {
    this.#disposed = true;
  }
}

const isConsequence = (error: DarkroomError): boolean => error.message.includes('due to a previous error');
