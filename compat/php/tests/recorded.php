<?php
/** recorder.php as a process of the test's, to which PULLGATE_PUBLISH_URL points while the test runs. */

final class Recorded
{
    public $address;
    private $process;
    private $directory;

    public function __construct(array $answers, bool $unix = false)
    {
        $this->directory = tempnam(sys_get_temp_dir(), 'recorded');
        unlink($this->directory);
        mkdir($this->directory);
        $address = $unix ? "unix://$this->directory/socket" : 'tcp://127.0.0.1:0';
        $command = array_merge([PHP_BINARY, __DIR__ . '/recorder.php', $address, "$this->directory/log"], $answers);
        // PHP takes a command as an array from 7.4 on only; exec lets the shell become the recorder.
        $command = 'exec ' . implode(' ', array_map('escapeshellarg', $command));
        $this->process = proc_open($command, [1 => ['pipe', 'w']], $pipes);
        $this->address = trim(fgets($pipes[1]));
        putenv('PULLGATE_PUBLISH_URL=' . ($unix ? "unix:$this->directory/socket" : "http://$this->address"));
        // Not a destructor: the test may have no further use for the object.
        register_shutdown_function(function () {
            proc_terminate($this->process);
            array_map('unlink', glob("$this->directory/*"));
            rmdir($this->directory);
        });
    }

    /** All that came: line, headers, body. */
    public function requests(): array
    {
        $log = "$this->directory/log";
        return is_file($log) ? array_map(function ($line) {
            return json_decode($line, true);
        }, file($log)) : [];
    }

    public function lines(): array
    {
        return array_column($this->requests(), 'line');
    }

    public function bodies(): array
    {
        return array_map(function ($body) {
            return json_decode($body, true);
        }, array_column($this->requests(), 'body'));
    }

    /** The numbers in USER_ID of each request. */
    public function numbers(): array
    {
        return array_map(function ($line) {
            preg_match('/USER_ID=(\S+)/', $line, $parts);
            return explode('/', $parts[1]);
        }, $this->lines());
    }
}
