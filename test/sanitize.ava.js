// The addon's tests, and bad packets through it, under the address and undefined-behaviour sanitizers (npm run test:sanitize).
export default {
  files: ['dist/test/native/**/*.test.js', 'dist/test/fuzz/native-fuzz.test.js'],
  concurrency: 1,
  timeout: '10m',
  workerThreads: false,
};
