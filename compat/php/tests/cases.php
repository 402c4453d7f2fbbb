<?php
/**
 * Runs the cases of a test file: name => [expected, the case]. Classes and constants can be defined once
 * per process, so each case is a process of its own: the test file run again with the case's name, in
 * which PHP turns every warning, notice or deprecation into output, and any output fails the case.
 */

error_reporting(E_ALL);
ini_set('display_errors', '1');
date_default_timezone_set('UTC');

function run_cases($file, array $cases)
{
    $arguments = $_SERVER['argv'];
    if (isset($arguments[1])) {
        echo json_encode(call_user_func($cases[$arguments[1]][1]));
        exit(0);
    }
    $failed = 0;
    foreach ($cases as $name => list($expected)) {
        $command = implode(' ', array_map('escapeshellarg', [PHP_BINARY, $file, $name])) . ' 2>&1';
        $output = (string)shell_exec($command);
        if ($output !== json_encode($expected)) {
            $failed++;
            echo "FAILED $name: expected ", json_encode($expected), ", found $output\n";
        }
    }
    echo basename($file), ': ', count($cases) - $failed, " passed, $failed failed\n";
    exit($failed ? 1 : 0);
}
