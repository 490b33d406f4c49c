// A worker in a page, the page's half: asks worker.mjs for a picture and paints it. Run `npx vite page` in examples/.

const query = new URLSearchParams(location.search);
const worker = new Worker(new URL('./worker.mjs', import.meta.url), { type: 'module' });
const state = document.querySelector('#state');

worker.onmessage = ({ data }) => {
  if (data.type === 'progress') state.textContent = `step ${data.step}`;
  if (data.type === 'error') state.textContent = data.message;
  if (data.type !== 'done') return;
  document.querySelector('canvas').getContext('2d').putImageData(data.picture, 0, 0);
  state.textContent = `done on ${data.device}`;
};
worker.onerror = ({ message }) => (state.textContent = message);
worker.postMessage({
  prompt: query.get('prompt') ?? 'a fox on a blue background',
  seed: Number(query.get('seed') ?? 1),
  steps: Number(query.get('steps') ?? 25),
});
